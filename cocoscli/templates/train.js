"use strict";
// Draws the curves of a training run and steps through its panels. The address keeps the place:
// #step=2500; without it the latest panels are shown.

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const by = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en");
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const draw = (svg, className, d) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    svg.append(path);
  };

  function short(value) {
    if (Math.abs(value) >= 1000) return number(Math.round(value));
    return String(Number(value.toPrecision(3))).replace("-", "−");
  }

  function steps(value) {
    if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
    return value >= 1000 ? `${Number((value / 1e3).toPrecision(3))}k` : String(value);
  }

  // Curves. A point is [step, mean, lowest, highest]; all charts share the steps.

  const WIDTH = 1000; // of a plot, in units of its drawing
  const HEIGHT = 100;
  const FEW = 40; // points up to which each is marked
  const curves = by("curves");
  const end = Math.max(1, data.step);
  const charts = [];

  function smoothed(points, weight) {
    let [sum, norm] = [0, 0];
    return points.map(([step, mean]) => {
      sum = weight * sum + (1 - weight) * mean;
      norm = weight * norm + 1 - weight;
      return [step, sum / norm];
    });
  }

  function ticks(low, high, most) {
    const raw = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
    const count = Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1;
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: count }, (_, index) => (first + index) * step);
  }

  function decades(low, high) {
    const first = Math.ceil(Math.log10(low));
    const count = Math.floor(Math.log10(high)) - first + 1;
    const every = Math.ceil(count / 4);
    const all = Array.from({ length: Math.max(0, count) }, (_, index) => first + index);
    return all.filter((_, index) => index % every === 0).map((power) => 10 ** power);
  }

  /** The y axis: where a value stands (0 at the top), and its ticks. */
  function scale(lines, logarithmic) {
    const means = lines.flatMap(([, points]) => points.map((point) => point[1]));
    let [low, high] = [Math.min(...means), Math.max(...means)];
    const log = logarithmic && low > 0;
    const on = log ? Math.log : (value) => value;
    const off = log ? Math.exp : (value) => value;
    const pad = 0.06 * (on(high) - on(low)) || (log ? 0.5 : Math.abs(high) / 2 || 1);
    [low, high] = [off(on(low) - pad), off(on(high) + pad)];
    const at = (value) => {
      const share = (on(log ? Math.max(value, low) : value) - on(low)) / (on(high) - on(low));
      return HEIGHT * (1 - clamp(share, -1, 2));
    };
    const marks = log && high / low > 30 ? decades(low, high) : ticks(low, high, 4);
    return { at, marks: marks.filter((mark) => mark >= low && mark <= high) };
  }

  const x = (step) => (WIDTH * step) / end;
  const line = (points, at) =>
    `M${points.map(([step, value]) => `${x(step).toFixed(1)} ${at(value).toFixed(2)}`).join("L")}`;

  function band(points, at) {
    const low = points.map(([step, , value]) => [step, value]);
    const high = points.map(([step, , , value]) => [step, value]).reverse();
    return `${line(low.concat(high), at)}Z`;
  }

  function chart({ title, words, better, lines }, smooth) {
    const figure = make("figure", "chart");
    figure.tabIndex = 0;
    figure.setAttribute("role", "group");
    const caption = make("figcaption");
    const head = make("div", "head");
    const values = lines.map(() => make("span", "value"));
    head.append(make("b", "", title));
    caption.append(head);
    const arrow = { lower: "↓ lower is better", higher: "↑ higher is better" }[better];
    const about = make("div", "about", words);
    if (arrow) about.append(make("span", "better", arrow));
    caption.append(about);
    if (lines.length > 1) {
      const key = make("div", "key");
      lines.forEach(([label], index) => {
        const item = make("span", "", `${label} `);
        item.append(values[index]);
        key.append(item);
      });
      caption.append(key);
    } else head.append(values[0]);
    const plot = make("div", "plot");
    const axis = make("div", "axis");
    for (const mark of ticks(0, end, 4)) {
      if (mark > 0.86 * end) continue;
      const tick = make("span", "tick", steps(mark));
      tick.style.left = `${(100 * mark) / end}%`;
      axis.append(tick);
    }
    const last = make("span", "tick", steps(end));
    last.style.left = "100%";
    const at = make("b"); // the step that is pointed at
    axis.append(last, at);
    figure.append(caption, plot, axis);
        plot.addEventListener("pointermove", (event) => point(stepAt(plot, event)));
    plot.addEventListener("pointerdown", (event) => point(stepAt(plot, event)));
    plot.addEventListener("pointerleave", () => point(null));
    plot.addEventListener("click", (event) => show(nearestPreview(stepAt(plot, event))));
    figure.addEventListener("blur", () => point(null));
    figure.addEventListener("keydown", (event) => move(event, lines[0][1]));
    charts.push({ figure, plot, title, lines, smooth, values, at });
    return figure;
  }

  function redraw({ plot, lines, smooth }) {
    const weight = smooth ? Number(by("smoothing").value) : 0;
    const { at, marks } = scale(lines, by("log").checked);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const extra = [];
    for (const mark of marks) {
      draw(svg, "grid", `M0 ${at(mark)}H${WIDTH}`);
      const label = make("span", "tick y", short(mark));
      label.style.top = `${(100 * at(mark)) / HEIGHT}%`;
      extra.push(label);
    }
    lines.forEach(([, points], index) => {
      const which = index ? " second" : "";
      if (points.length > 1) {
        draw(svg, `band${which}`, band(points, at));
        if (weight) draw(svg, `raw${which}`, line(points, at));
        draw(svg, which, line(smoothed(points, weight), at));
      }
      if (points.length > FEW) return;
      for (const [step, mean] of points) {
        const dot = make("i", `dot${which}`);
        dot.style.left = `${(100 * step) / end}%`;
        dot.style.top = `${(100 * at(mean)) / HEIGHT}%`;
        extra.push(dot);
      }
    });
    plot.replaceChildren(svg, ...extra, make("i", "shown"), make("i", "cursor"));
  }

  const nearest = (points, step) =>
    points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));

  function stepAt(plot, event) {
    const box = plot.getBoundingClientRect();
    return clamp(((event.clientX - box.left) / box.width) * end, 0, end);
  }

  let pointed = null; // the step that is pointed at

  function point(step) {
    pointed = step;
    curves.classList.toggle("pointed", step !== null);
    if (step !== null) curves.style.setProperty("--cursor", `${(100 * step) / end}%`);
    for (const { figure, title, lines, values, at } of charts) {
      const said = lines.map(([label, points], index) => {
        const [when, mean] = nearest(points, step ?? end);
        values[index].textContent = short(mean);
        return `${label} ${short(mean)} at step ${number(when)}`.trim();
      });
      at.textContent = step === null ? "" : number(nearest(lines[0][1], step)[0]);
      figure.setAttribute("aria-label", `${title}: ${said.join(", ")}`);
    }
  }

  function move(event, points) {
    const at = points.indexOf(nearest(points, pointed ?? end));
    const last = points.length - 1;
    const stride = Math.max(1, Math.round(points.length / 100));
    const to = { ArrowLeft: at - stride, ArrowRight: at + stride, Home: 0, End: last }[event.key];
    if (event.key === "Enter") show(nearestPreview(pointed ?? end));
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    point(points[clamp(to, 0, last)][0]);
  }

  // Panels: a preview is [step, whether it was the best so far].

  const previews = data.previews;
  const slider = by("preview");
  const best = previews.findLastIndex(([, isBest]) => isBest);
  const address = (step) => `previews/step-${String(step).padStart(7, "0")}.jpg`;
  let current = -1;
  let playing = null;

  const nearestPreview = (step) =>
    previews.length ? previews.indexOf(nearest(previews, step)) : -1;

  function show(index, keep = true) {
    if (!previews[index]) return;
    current = index;
    const [step] = previews[index];
    slider.value = index;
    by("sheet").src = by("sheet-link").href = address(step);
    by("sheet").alt = `Panels of held-out samples at step ${number(step)}`;
    const remarks = [index === previews.length - 1 && "latest", index === best && "best"];
    const remark = remarks.filter(Boolean).join(", ");
    by("when").replaceChildren(`Step ${number(step)}`, make("span", "", remark));
    slider.setAttribute("aria-valuetext", `step ${number(step)} ${remark}`);
    by("earlier").disabled = index === 0;
    by("later").disabled = index === previews.length - 1;
    curves.style.setProperty("--shown", `${(100 * step) / end}%`);
    for (const next of [index - 1, index + 1]) {
      if (previews[next]) new Image().src = address(previews[next][0]);
    }
    const place = index === previews.length - 1 ? "" : `#step=${step}`;
    if (keep) history.replaceState(null, "", location.href.split("#")[0] + place);
  }

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(() => {
      show(current + 1, false);
      if (current >= previews.length - 1) play(false);
    }, 450) : null;
    by("play").textContent = on ? "Pause" : "Play";
  }

  function browse(step) {
    play(false);
    show(clamp(current + step, 0, previews.length - 1));
  }

  slider.addEventListener("input", () => browse(Number(slider.value) - current));
  by("earlier").addEventListener("click", () => browse(-1));
  by("later").addEventListener("click", () => browse(1));
  by("play").addEventListener("click", () => {
    const on = playing === null;
    if (on && current === previews.length - 1) show(0, false);
    play(on);
  });
  by("sheet").addEventListener("load", ({ target }) => {
    by("panels").style.setProperty("--aspect", target.naturalWidth / target.naturalHeight);
  });
  addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const plain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
    if (!step || !plain || event.target.closest?.("input, pre")) return;
    event.preventDefault();
    browse(step);
  });
  addEventListener("hashchange", read);

  function read() {
    const step = Number(new URLSearchParams(location.hash.slice(1)).get("step"));
    show(step ? nearestPreview(step) : previews.length - 1, false);
  }

  // Words.

  function warn() {
    const count = data.warnings.reduce((sum, [, , times]) => sum + times, data.unlisted);
    if (!count) return;
    const [latest, step] = data.warnings[0];
    const [summary, list] = by("warnings").children;
    summary.append(make("b", "", count === 1 ? "A warning" : `${number(count)} warnings`));
    summary.append(`, the latest at step ${number(step)}: `, make("span", "", latest));
    for (const [message, at, times] of data.warnings) {
      const item = make("li");
      const when = times > 1 ? `${number(times)} times, last at step` : "Step";
      item.append(make("b", "", `${when} ${number(at)}: `), make("span", "", message));
      list.append(item);
    }
    if (data.unlisted) list.append(make("li", "", `${number(data.unlisted)} earlier ones`));
    by("warnings").hidden = false;
  }

  function sections() {
    for (const { title, words, smooth, charts: all } of data.sections) {
      if (!all.length) continue;
      const section = make("section");
      const grid = make("div", "charts");
      grid.append(...all.map((each) => chart(each, smooth)));
      section.append(make("h2", "", title));
      if (words) section.append(make("p", "", words));
      section.append(grid);
      curves.append(section);
    }
  }

  // Begin.

  warn();
  sections();
  by("display").hidden = charts.length === 0;
  by("nothing").hidden = charts.length > 0;
  const all = () => charts.forEach(redraw);
  by("smoothing").addEventListener("input", all);
  by("log").addEventListener("change", all);
  all();
  point(null);

  by("panels").hidden = previews.length === 0;
  curves.classList.toggle("showing", previews.length > 1);
  slider.max = previews.length - 1;
  by("columns").append(...data.columns.map((name) => make("span", "", name)));
  read();

  by("command").textContent = data.command;
  by("recipe").textContent = data.recipe;
  by("best").textContent = data.best === null ? "" :
    `best.safetensors is the network of step ${number(data.best)}, ` +
    "where reconstruction was best.";
  by("copy").hidden = !navigator.clipboard;
  by("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(data.command);
    by("copy").textContent = "Copied";
    setTimeout(() => (by("copy").textContent = "Copy"), 1500);
  });
})();
