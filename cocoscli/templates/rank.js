"use strict";
// Sorts the results of each task by each question. Answers are slots, best first; which run a slot
// is, the page does not know.

(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const by = (id) => document.getElementById(id);
  const STORE = `cocos-rank-${data.page}`;
  const FIRST = "a".charCodeAt(0);
  const letter = (slot) => String.fromCharCode(FIRST + slot);
  const steps = data.tasks.flatMap((_, task) =>
    data.questions.map((question) => ({ task, question })));
  let state = { person: person(), orders: {} };
  let at = 0;

  function person() {
    const parts = crypto.getRandomValues(new Uint8Array(8));
    return [...parts].map((part) => part.toString(16).padStart(2, "0")).join("");
  }

  const mark = ({ task, question }) => `${task}/${question.name}`;
  const order = (step) => state.orders[mark(step)] ?? [];
  const whole = (step) => order(step).length === data.tasks[step.task].results.length;
  const count = () => steps.filter(whole).length;

  // Kept by the browser, where it lets pages keep anything.

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(STORE));
      if (kept && kept.person && kept.orders) state = kept;
    } catch { /* `keep` says so */ }
    const open = steps.findIndex((step) => !whole(step));
    at = open < 0 ? steps.length : open;
  }

  function keep() {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
    } catch {
      by("notice").textContent =
        "This browser keeps nothing for this page: save the answers before you close it.";
      by("notice").hidden = false;
    }
  }

  // Sorting.

  function set(slots) {
    state.orders[mark(steps[at])] = slots;
    keep();
    show();
  }

  function press(slot) {
    const step = steps[at];
    const slots = order(step);
    const place = slots.indexOf(slot);
    if (place >= 0) return set(slots.slice(0, place));
    const sorted = [...slots, slot];
    const left = data.tasks[step.task].results.map((_, i) => i).filter((i) => !sorted.includes(i));
    set(left.length === 1 ? [...sorted, ...left] : sorted);
    if (whole(step)) by("next").focus({ preventScroll: true });
  }

  function undo() {
    const step = steps[at];
    set(order(step).slice(0, whole(step) ? -2 : -1)); // the last one had sorted itself
  }

  function go(to) {
    at = Math.min(Math.max(to, 0), steps.length);
    show();
    if (at === steps.length) by("end").querySelector("h2").focus();
  }

  // Showing.

  function show() {
    const ended = at === steps.length;
    by("task").hidden = ended;
    by("end").hidden = !ended;
    by("status").textContent = `${count()} of ${steps.length} sorted`;
    if (ended) {
      by("words").textContent = count() === steps.length
        ? "All is sorted. Save the answers, and give the file to whoever asked you."
        : "Some are not sorted yet; what is sorted can be saved.";
      return;
    }
    const step = steps[at];
    const task = data.tasks[step.task];
    const number = data.questions.indexOf(step.question) + 1;
    by("place").textContent = `Image ${step.task + 1} of ${data.tasks.length}, question ${number} ` +
      `of ${data.questions.length}`;
    by("question").textContent = step.question.words;
    by("input-figure").hidden = !task.input;
    if (task.input) by("input").src = task.input;
    by("exemplar").src = task.exemplar;
    by("back").disabled = at === 0;
    by("undo").disabled = !order(step).length;
    by("next").disabled = !whole(step);
    results(task, order(step));
  }

  function results(task, slots) {
    const list = by("results");
    if (list.dataset.at !== String(at)) {
      list.dataset.at = at;
      list.replaceChildren(...task.results.map(result));
    }
    [...list.children].forEach((button, slot) => {
      const place = slots.indexOf(slot) + 1;
      button.setAttribute("aria-pressed", String(place > 0));
      button.querySelector(".placed").textContent = place ? `${place}.` : "";
    });
  }

  function result(source, slot) {
    const button = document.createElement("button");
    button.type = "button";
    const tile = document.createElement("span");
    tile.className = "tile";
    const image = document.createElement("img");
    image.src = source;
    image.alt = "Result";
    tile.append(image);
    const words = document.createElement("span");
    words.className = "words";
    for (const [name, text] of [["letter", letter(slot).toUpperCase()], ["placed", ""]]) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      words.append(part);
    }
    button.append(tile, words);
    button.addEventListener("click", () => press(slot));
    return button;
  }

  // Saving.

  function answers() {
    return {
      page: data.page,
      person: state.person,
      answers: steps.filter(whole).map((step) => ({
        task: step.task, question: step.question.name, order: order(step),
      })),
    };
  }

  function save() {
    const text = `${JSON.stringify(answers(), null, 1)}\n`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `answers-${data.page}-${state.person.slice(0, 6)}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    by("status").textContent = `${count()} of ${steps.length} sorted, saved as ${link.download}`;
  }

  by("back").addEventListener("click", () => go(at - 1));
  by("next").addEventListener("click", () => go(at + 1));
  by("undo").addEventListener("click", undo);
  by("review").addEventListener("click", () => go(at - 1));
  by("save").addEventListener("click", save);
  by("again").addEventListener("click", () => {
    state = { person: person(), orders: {} };
    keep();
    go(0);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") return go(at - 1);
    if (at === steps.length) return;
    const slot = event.key.length === 1 ? event.key.toLowerCase().charCodeAt(0) - FIRST : -1;
    if (event.key === "ArrowRight" && whole(steps[at])) go(at + 1);
    else if (event.key === "Backspace") undo();
    else if (slot >= 0 && slot < data.tasks[steps[at].task].results.length) press(slot);
  });

  recall();
  show();
})();
