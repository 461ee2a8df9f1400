"use strict";
// Shows the match of the position under the pointer. The address keeps item and position:
// #item=0123456789abcdef&x=12&y=30, in cells.

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const by = (id) => document.getElementById(id);
  const items = new Map(data.items.map((each) => [each[0], each]));
  const NUMBERS = 10; // of a cell
  const SPREAD = 2; // standard deviations
  const SPACE = "http://www.w3.org/2000/svg";

  let mark = null; // of the item that is shown
  let match = null; // its cells, once they are here
  let [x, y] = [0, 0];

  // Cells.

  const awaited = new Map(); // mark -> what to call with its cells

  window.cocosMatch = (name, values) => awaited.get(name)?.(values);

  function load(name) {
    return new Promise((resolve) => {
      const script = document.createElement("script");
      const finish = (values) => {
        awaited.delete(name);
        script.remove();
        resolve(values);
      };
      awaited.set(name, finish);
      script.src = `_cocos/matches/${name.slice(0, 2)}/${name}.js`;
      script.onload = script.onerror = () => {
        if (awaited.has(name)) finish(null);
      };
      document.head.append(script);
    });
  }

  function unpacked(values) {
    const text = atob(values.cells);
    const view = new DataView(Uint8Array.from(text, (each) => each.charCodeAt(0)).buffer);
    const [rows, columns] = values.grid;
    return { ...values, rows, columns, number: (at) => view.getInt16(2 * at, true) };
  }

  function cell(column, row) {
    const at = NUMBERS * (row * match.columns + column);
    const [length, share] = [1 / match.scale, 1 / match.unit];
    const scales = [length, length, length, length, length, length, share, share, length, 1];
    const [mx, my, sx, sy, dx, dy, correlation, confidence, error, mutual] = scales.map(
      (scale, index) => match.number(at + index) * scale,
    );
    return { mx, my, sx, sy, dx, dy, correlation, confidence, error, mutual: mutual > 0 };
  }

  const centre = (index) => match.first + match.step * index;

  // Drawing, in pixels of the picture; a pixel's centre lies at a whole number, half a pixel inside.

  function draw(stage, kind, d) {
    for (const layer of ["below", "above"]) {
      const path = document.createElementNS(SPACE, "path");
      path.setAttribute("class", `mark ${kind} ${layer}`);
      path.setAttribute("d", d);
      by(stage).querySelector("svg").append(path);
    }
  }

  function clear(stage, [width, height]) {
    const svg = by(stage).querySelector("svg");
    svg.replaceChildren();
    svg.setAttribute("viewBox", `-0.5 -0.5 ${width} ${height}`);
  }

  // Four ticks around a place, which stays to be seen; without a gap a cross.
  function cross(cx, cy, r, gap = 0) {
    const ticks = [[-1, 0], [1, 0], [0, -1], [0, 1]];
    return ticks
      .map(([a, b]) => `M${cx + a * gap} ${cy + b * gap}L${cx + a * r} ${cy + b * r}`)
      .join("");
  }

  const circle = (cx, cy, r) =>
    `M${cx - r} ${cy}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;

  function axes({ dx, dy, correlation }) {
    const [a, c] = [dx * dx, dy * dy];
    const b = correlation * dx * dy;
    const middle = (a + c) / 2;
    const root = Math.hypot((a - c) / 2, b);
    const lengths = [middle + root, Math.max(middle - root, 0)].map((each) => Math.sqrt(each));
    return { long: lengths[0], short: lengths[1], angle: Math.atan2(2 * b, a - c) / 2 };
  }

  function ellipse(cx, cy, { long, short, angle }) {
    const [rx, ry] = [Math.max(SPREAD * long, 0.5), Math.max(SPREAD * short, 0.5)];
    const [px, py] = [rx * Math.cos(angle), rx * Math.sin(angle)];
    const turn = (angle * 180) / Math.PI;
    const half = `A${rx} ${ry} ${turn} 1 0`;
    return `M${cx - px} ${cy - py}${half} ${cx + px} ${cy + py}${half} ${cx - px} ${cy - py}`;
  }

  function show() {
    const found = cell(x, y);
    const around = axes(found);
    const [from, to] = [match.size, match.exemplar_size];
    clear("from", from);
    clear("to", to);
    draw("from", "at", cross(centre(x), centre(y), 0.035 * from[0], 0.012 * from[0]));
    draw("to", "spread", ellipse(found.sx, found.sy, around));
    draw("to", "mean", cross(found.sx, found.sy, 0.015 * to[0]));
    draw("to", "at", circle(found.mx, found.my, 0.012 * to[0]));
    const px = (value) => value.toFixed(1);
    tell({
      Position: `${px(centre(x))}, ${px(centre(y))}`,
      "Best match": `${px(found.mx)}, ${px(found.my)}`,
      Confidence: found.confidence.toFixed(2),
      "Cycle error": `${px(found.error)} px`,
      "Mutual match": found.mutual ? "yes" : "no",
      "Mean match": `${px(found.sx)}, ${px(found.sy)}`,
      "Spread, two deviations": `${px(SPREAD * around.long)} × ${px(SPREAD * around.short)} px`,
    });
    keep();
  }

  function tell(words) {
    const lines = Object.entries(words).map(([name, value]) => {
      const line = document.createElement("div");
      for (const [tag, text] of [["dt", name], ["dd", value]]) {
        line.append(Object.assign(document.createElement(tag), { textContent: text }));
      }
      return line;
    });
    by("words").replaceChildren(...lines);
  }

  // Moving.

  const clamp = (value, count) => Math.min(Math.max(Math.round(value) || 0, 0), count - 1);

  function go(column, row) {
    if (!match) return;
    [x, y] = [clamp(column, match.columns), clamp(row, match.rows)];
    show();
  }

  // The picture keeps its shape within its box, so the box may be wider than what is seen of it.
  function point(event) {
    if (!match) return;
    const box = by("from").getBoundingClientRect();
    const [width, height] = match.size;
    const scale = Math.min(box.width / width, box.height / height);
    const left = (box.width - scale * width) / 2;
    const top = (box.height - scale * height) / 2;
    const at = [(event.clientX - box.left - left) / scale, (event.clientY - box.top - top) / scale];
    go(...at.map((each) => (each - 0.5 - match.first) / match.step));
  }

  by("from").addEventListener("pointermove", point);
  by("from").addEventListener("pointerdown", point);
  by("from").addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 8 : 1;
    const steps = {
      ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far],
    };
    const step = steps[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(x + step[0], y + step[1]);
  });

  // Items.

  let pending = 0;

  function keep() {
    clearTimeout(pending); // browsers limit how often an address may change
    pending = setTimeout(() => history.replaceState(null, "", `#item=${mark}&x=${x}&y=${y}`), 200);
  }

  function fail(words) {
    by("notice").textContent = words;
    by("notice").hidden = false;
    by("view").hidden = true;
  }

  async function open(name, column, row) {
    [mark, match] = [name, null];
    const [, title, exemplar] = items.get(name);
    by("item").value = name;
    const place = data.items.findIndex((each) => each[0] === name);
    by("previous").disabled = place === 0;
    by("next").disabled = place === data.items.length - 1;
    by("input-name").textContent = title;
    by("exemplar-name").textContent = exemplar;
    document.title = `${title}: its matches`;
    const values = await load(name);
    if (mark !== name) return;
    if (!values) {
      fail("The cells of this item are missing or damaged. Keep this page with its _cocos folder.");
      return;
    }
    match = unpacked(values);
    by("input").src = match.input;
    by("input").alt = `Input ${title}`;
    by("exemplar").src = match.exemplar;
    by("exemplar").alt = `Exemplar ${exemplar}`;
    for (const [id, size] of [["input", match.size], ["exemplar", match.exemplar_size]]) {
      [by(id).width, by(id).height] = size;
    }
    by("notice").hidden = true;
    by("view").hidden = false;
    go(column ?? match.columns / 2, row ?? match.rows / 2);
  }

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const name = items.has(asked.get("item")) ? asked.get("item") : data.items[0]?.[0];
    if (name === undefined) {
      fail("There are no matches to look at.");
      return;
    }
    const number = (key) => (asked.has(key) ? Number(asked.get(key)) : undefined);
    open(name, number("x"), number("y"));
  }

  function step(by_) {
    const place = data.items.findIndex((each) => each[0] === mark) + by_;
    if (data.items[place]) open(data.items[place][0], x, y);
  }

  by("all").href = data.index;
  for (const [name, title, exemplar] of data.items) {
    by("item").append(new Option(`${title} → ${exemplar}`, name));
  }
  by("item").addEventListener("change", (event) => open(event.target.value, x, y));
  by("previous").addEventListener("click", () => step(-1));
  by("next").addEventListener("click", () => step(1));
  addEventListener("hashchange", read);
  read();
})();
