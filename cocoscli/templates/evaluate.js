"use strict";

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const by = (id) => document.getElementById(id);
  const BINS = 24;
  const STEP = 100;

  function make(tag, parent, text, attributes) {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
    parent.append(node);
    return node;
  }

  function draw(tag, parent, attributes) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    parent.append(node);
    return node;
  }

  const short = (value) =>
    value === null ? "–" : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(3);

  // A table of text; the first `words` columns hold names.
  function fill(table, heads, rows, words) {
    const line = make("tr", make("thead", table));
    heads.forEach((each, i) => make("th", line, each, { class: i < words ? "text" : "" }));
    const body = make("tbody", table);
    for (const row of rows) {
      const tr = make("tr", body, null, { class: row[0].startsWith(" ") ? "quiet" : "" });
      row.forEach((each, i) => make("td", tr, each, { class: i < words ? "text" : "" }));
    }
  }

  function notes() {
    if (!data.notes.length) return;
    by("notes").hidden = false;
    by("notes").querySelector("summary").textContent =
      data.notes.length === 1 ? "1 note" : `${data.notes.length} notes`;
    for (const each of data.notes) make("li", by("notes").querySelector("ul"), each);
  }

  function histogram(figure, column) {
    const values = data.items.map((item) => item[column]).filter((value) => value !== null);
    if (!values.length) return;
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    const width = high - low || 1;
    const counts = new Array(BINS).fill(0);
    for (const value of values) {
      counts[Math.min(BINS - 1, Math.floor(((value - low) / width) * BINS))] += 1;
    }
    const most = Math.max(...counts);
    const box = make("figure", by("charts"));
    const caption = make("figcaption", box);
    make("b", caption, `${figure.title} ${short(figure.mean)}`);
    make("span", caption, `${figure.words}; ${figure.better} is better`);
    const svg = draw("svg", box, {
      viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img",
      "aria-label": `${figure.title}: ${short(low)} to ${short(high)}`,
    });
    counts.forEach((count, i) => {
      const height = (100 * count) / most;
      const bar = draw("rect", svg, {
        x: (100 * i) / BINS + 0.4, y: 100 - height, width: 100 / BINS - 0.8, height,
      });
      const from = low + (width * i) / BINS;
      const title = draw("title", bar, {});
      title.textContent = `${count} pairs from ${short(from)} to ${short(from + width / BINS)}`;
    });
    for (const [value, kind] of [[figure.mean, "mean"], [figure.worst, "worst"]]) {
      if (value === null) continue;
      const x = (100 * (value - low)) / width;
      draw("line", svg, { x1: x, x2: x, y1: 0, y2: 100, class: kind });
    }
    const range = make("div", box, null, { class: "range" });
    make("span", range, short(low));
    make("span", range, short(high));
  }

  function pair(parent, i, column) {
    const item = data.items[i];
    const box = make("div", parent, null, { class: "pair" });
    const line = make("p", box, `${short(item[column])} `);
    make("span", line, `${item[0]}, exemplar ${item[1]}`, { dir: "auto" });
    const tiles = make("div", box, null, { class: "tiles" });
    for (const [src, what] of data.pictures[i]) {
      const cell = make("div", tiles);
      const link = make("a", cell, null, {
        class: "tile", href: src, "data-column": what, "data-title": item[0],
      });
      make("img", link, null, { src, alt: `${what} ${item[0]}`, loading: "lazy" });
      make("span", cell, what, { class: "what" });
    }
  }

  function ends() {
    const n = Number(by("figure").value);
    const figure = data.figures[n];
    by("words").textContent = `${figure.words}; ${figure.better} is better`;
    ["worst", "best"].forEach((id, end) => {
      by(id).replaceChildren();
      for (const i of figure.ends[end]) pair(by(id), i, n + 2);
    });
  }

  // All pairs, sorted by a column.
  const pairs = { column: 0, down: false, order: [], shown: 0 };

  function sorted() {
    const { column, down } = pairs;
    const compare = column < 2
      ? (a, b) => (a[column] < b[column] ? -1 : Number(a[column] > b[column]))
      : (a, b) => (a[column] ?? Infinity) - (b[column] ?? Infinity);
    return [...data.items].sort((a, b) => (down ? compare(b, a) : compare(a, b)));
  }

  function list() {
    const table = by("pairs").querySelector("table");
    table.replaceChildren();
    const line = make("tr", make("thead", table));
    ["pair", "exemplar", ...data.figures.map((each) => each.title)].forEach((title, column) => {
      const head = make("th", line, null, { class: column < 2 ? "text" : "" });
      if (column === pairs.column) {
        head.setAttribute("aria-sort", pairs.down ? "descending" : "ascending");
      }
      make("button", head, title, { type: "button" }).addEventListener("click", () => {
        pairs.down = column === pairs.column && !pairs.down;
        pairs.column = column;
        list();
      });
    });
    make("tbody", table);
    [pairs.order, pairs.shown] = [sorted(), 0];
    more();
  }

  function more() {
    const body = by("pairs").querySelector("tbody");
    for (const item of pairs.order.slice(pairs.shown, pairs.shown + STEP)) {
      const tr = make("tr", body);
      item.forEach((value, column) => {
        const text = column < 2 ? value : short(value);
        make("td", tr, text, column < 2 ? { class: "text", title: value } : {});
      });
    }
    pairs.shown += STEP;
    by("more").hidden = pairs.shown >= data.items.length;
  }

  notes();
  fill(by("figures"), data.heads, data.rows, 1);
  if (data.figures.length) {
    for (const id of ["spread", "ends", "pairs"]) by(id).hidden = false;
    data.figures.forEach((figure, n) => {
      histogram(figure, n + 2);
      make("option", by("figure"), figure.title, { value: n });
    });
    by("figure").addEventListener("change", ends);
    ends();
    by("more").addEventListener("click", more);
    list();
  }
  if (data.classes.rows.length) {
    by("classes").hidden = false;
    fill(by("classes").querySelector("table"), data.classes.heads, data.classes.rows, 2);
  }
})();
