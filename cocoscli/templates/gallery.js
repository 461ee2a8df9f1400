"use strict";
// Shows the rows of _cocos/rows page by page. The address keeps the place: #page=2&find=cat.

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const by = (id) => document.getElementById(id);
  const size = data.chunk;
  const chunks = Math.ceil(data.rows / size);
  const failures = Object.values(data.failed).reduce((sum, each) => sum + each, 0);
  const matrix = data.layout === "matrix";
  const list = by("rows");
  const number = (value) => value.toLocaleString("en");

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  function named(text, className = "name") {
    const element = make("span", className);
    element.dir = "auto";
    if (matrix) element.title = element.textContent = text; // cut to one line
    else for (const part of text.split(/(?<=[/_.-])/)) element.append(part, make("wbr"));
    return element;
  }

  // Chunks: loaded once, the latest few kept.

  const KEPT = 64;
  const loaded = new Map(); // chunk -> promise of its rows
  const awaited = new Map(); // chunk -> what to call with its rows

  window.cocosRows = (chunk, rows) => awaited.get(chunk)?.(rows);

  function load(chunk) {
    const known = loaded.get(chunk) ?? request(chunk);
    loaded.delete(chunk);
    loaded.set(chunk, known); // now the latest
    if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
    return known;
  }

  function request(chunk) {
    return new Promise((resolve) => {
      const script = make("script");
      const finish = (rows) => {
        awaited.delete(chunk);
        script.remove();
        resolve(rows);
      };
      awaited.set(chunk, finish);
      script.src = `_cocos/rows/${String(chunk).padStart(4, "0")}.js`;
      script.onload = script.onerror = () => {
        if (!awaited.has(chunk)) return;
        by("notice").textContent =
          `Some rows cannot be shown: ${script.getAttribute("src")} is missing or damaged. ` +
          "Keep this page together with its _cocos folder, or write it again.";
        by("notice").hidden = false;
        finish([]);
      };
      document.head.append(script);
    });
  }

  // What is asked for, and which rows (by number) are known to answer it.

  let page = 1;
  let find = "";
  let failedOnly = false;
  let matches = [];
  let scanned = 0; // chunks searched for matches
  let turn = 0; // what an earlier request still does is dropped

  const plain = (text) => text.normalize("NFKC").toLowerCase();
  const filtered = () => failedOnly || find.trim() !== "";
  const known = () => (filtered() ? matches.length : data.rows);
  const complete = () => !filtered() || scanned === chunks;
  const pages = () => Math.max(1, Math.ceil(known() / size));

  function visible() {
    const first = (page - 1) * size;
    if (filtered()) return matches.slice(first, first + size);
    return Array.from({ length: Math.min(size, data.rows - first) }, (_, index) => first + index);
  }

  async function search(mine) {
    const words = plain(find).split(/\s+/);
    const chunk = scanned;
    if (!failedOnly || data.failed[chunk]) {
      const rows = await load(chunk);
      if (mine !== turn) return;
      rows.forEach(([title, pictures, note, failed], index) => {
        const text = plain([title, note, ...pictures.map((each) => each?.[1])].join("\n"));
        if ((failed || !failedOnly) && words.every((word) => text.includes(word))) {
          matches.push(chunk * size + index);
        }
      });
    }
    scanned += 1;
  }

  async function fill(mine) {
    const wanted = visible().slice(list.childElementCount);
    const rows = await Promise.all(
      wanted.map(async (at) => [at, (await load(Math.floor(at / size)))[at % size]]),
    );
    if (mine !== turn) return;
    const items = document.createDocumentFragment();
    for (const [at, row] of rows) if (row) items.append(item(at, row));
    list.append(items);
  }

  async function show() {
    const mine = ++turn;
    list.replaceChildren();
    report();
    if (!filtered()) await fill(mine);
    while (mine === turn && !complete()) {
      if (!failedOnly && scanned + 1 < chunks) load(scanned + 1);
      await search(mine);
      if (mine === turn && list.childElementCount < size) await fill(mine);
      if (mine === turn) report();
    }
    if (mine !== turn) return;
    if (filtered()) await fill(mine);
    if (page > pages()) go({ page: pages() });
    else report();
  }

  // One row.

  function tile(src, alt, column, title) {
    const link = make("a", "tile");
    link.href = src;
    link.dataset.column = column;
    link.dataset.title = title;
    const image = make("img");
    image.loading = "lazy";
    image.decoding = "async";
    image.alt = alt;
    image.addEventListener("error", () => link.replaceWith(empty("file not found")));
    image.src = src;
    link.append(image);
    return link;
  }

  const empty = (text) => make("span", "tile", text);

  function about(at, title, first) {
    const cell = make("div", "about");
    cell.setAttribute("role", "rowheader");
    if (first) cell.append(first);
    if (!matrix) cell.append(make("span", "number", number(at + 1)));
    cell.append(named(title));
    return cell;
  }

  function cell(picture, column, title) {
    const figure = make("figure");
    figure.setAttribute("role", "cell");
    const text = matrix ? "not made" : "none";
    figure.append(picture ? tile(picture[0], picture[1], column, title) : empty(text));
    if (!matrix) figure.append(make("figcaption", "", column));
    if (picture?.[2]) figure.append(named(picture[2], "caption"));
    return figure;
  }

  function item(at, [title, pictures, note, failed, link]) {
    const row = make("div", failed ? "row failed" : "row");
    row.setAttribute("role", "row");
    row.setAttribute("aria-rowindex", at + 2);
    const [input, ...results] = matrix ? pictures : [null, ...pictures];
    const head = about(at, title, input && tile(input[0], input[1], "Input", title));
    if (link) {
      const more = make("a", "more", link[1]);
      more.href = link[0];
      head.append(more);
    }
    row.append(head);
    const remark = note ? make("div", "note", note) : null;
    let shown = results.length;
    if (failed && remark) while (shown && !results[shown - 1]) shown -= 1;
    for (let index = 0; index < shown; index += 1) {
      row.append(cell(results[index], data.heads[index]?.name ?? "", title));
    }
    if (!remark) return row;
    remark.dir = "auto";
    if (!failed) head.append(remark);
    else row.append(remark);
    if (shown < results.length) remark.style.gridColumn = `span ${results.length - shown}`;
    else if (failed) remark.classList.add("below");
    return row;
  }

  function heads() {
    const row = by("heads");
    const corner = make("div", matrix ? "corner" : "");
    corner.setAttribute("role", "columnheader");
    if (matrix) {
      const box = make("div", "corner-words");
      box.append(make("span", "", "Exemplars →"), make("span", "", "Inputs ↓"));
      corner.append(box);
    }
    row.append(corner);
    for (const { name, src } of data.heads) {
      const head = make("div", matrix ? "" : "column", matrix ? undefined : name);
      head.setAttribute("role", "columnheader");
      if (matrix) {
        head.append(tile(src, name, name, "Exemplar"), named(name));
      }
      row.append(head);
    }
  }

  // Controls.

  function report() {
    const count = known();
    const first = (page - 1) * size + 1;
    const last = Math.min(page * size, count);
    let text = number(count);
    if (count > size && first <= count) text = `${number(first)}–${number(last)} of ${text}`;
    if (filtered()) text += count === 1 ? " match" : " matches";
    else if (count <= size) text += count === 1 ? " row" : " rows";
    if (!complete()) text += ` so far, ${Math.floor((100 * scanned) / chunks)} % searched`;
    by("status").textContent = text;
    by("pages").textContent = `of ${number(pages())}`;
    if (document.activeElement !== by("page")) by("page").value = page;
    by("nothing").hidden = count > 0 || !complete();
    by("nothing").textContent = data.rows ? "Nothing matches." : "There are no items yet.";
    for (const pager of document.querySelectorAll(".pager")) pager.hidden = pages() === 1;
    for (const button of document.querySelectorAll("[data-step]")) {
      const to = page + Number(button.dataset.step);
      button.disabled = to < 1 || to > pages();
    }
  }

  function read() {
    const asked = new URLSearchParams(location.hash.slice(1));
    page = Math.max(1, Math.floor(Number(asked.get("page"))) || 1);
    const [text, failed] = [asked.get("find") ?? "", asked.has("failed")];
    if (text !== find || failed !== failedOnly) {
      [find, failedOnly, matches, scanned] = [text, failed, [], 0];
    }
    if (complete()) page = Math.min(page, pages());
    if (by("words") !== document.activeElement) by("words").value = find;
    by("failed").checked = failedOnly;
    show();
  }

  function go(change) {
    const asked = { page, find, failed: failedOnly, ...change };
    const place = new URLSearchParams();
    if (asked.find) place.set("find", asked.find);
    if (asked.failed) place.set("failed", "");
    if (asked.page > 1) place.set("page", asked.page);
    history.replaceState(null, "", `#${place}`);
    read();
  }

  function turnTo(to) {
    go({ page: Math.min(Math.max(1, Math.floor(to) || 1), pages()) });
    const above = by("table").getBoundingClientRect().top + scrollY - by("toolbar").offsetHeight;
    scrollTo(scrollX, Math.min(scrollY, above));
  }

  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => turnTo(page + Number(button.dataset.step)));
  }
  by("toolbar").addEventListener("submit", (event) => event.preventDefault());
  by("page").addEventListener("change", (event) => turnTo(Number(event.target.value)));
  by("page").addEventListener("blur", report);
  by("words").addEventListener("input", (event) => go({ find: event.target.value, page: 1 }));
  by("failed").addEventListener("change", (event) => go({ failed: event.target.checked, page: 1 }));
  addEventListener("hashchange", read);

  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, dialog")) return;
    event.preventDefault();
    by("words").focus();
  });

  // Begin.

  const columns = data.heads.length;
  document.body.classList.add(matrix ? "matrix" : "side");
  document.body.style.setProperty("--columns", columns);
  document.body.style.setProperty("--across", columns === 3 ? 3 : Math.min(columns, 2));
  const measure = () =>
    document.body.style.setProperty("--view", `${document.documentElement.clientWidth}px`);
  measure();
  addEventListener("resize", measure);
  by("toolbar").hidden = by("heads").hidden = data.rows === 0;
  by("failed-only").hidden = failures === 0;
  by("failed-only").lastChild.textContent = `Failed only (${number(failures)})`;
  by("table").setAttribute("aria-rowcount", data.rows + 1);
  heads();
  read();
})();
