"use strict";
// Enlarges the picture of an `a.tile`. Left and right go through all tiles of the page, up and down
// through those of a column (`data-column`); `data-title` says what the picture belongs to.

(() => {
  const by = (id) => document.getElementById(id);
  const viewer = by("viewer");
  let current = null;

  function neighbour(step, column) {
    const tiles = [...document.querySelectorAll("a.tile")];
    const among = column ? tiles.filter((each) => each.dataset.column === column) : tiles;
    return among[among.indexOf(current) + step];
  }

  function enlarge(link) {
    if (!link) return;
    current = link;
    const image = link.querySelector("img");
    by("viewer-image").src = image.src;
    by("viewer-image").alt = image.alt;
    by("viewer-column").textContent = link.dataset.column;
    by("viewer-title").textContent = link.dataset.title;
    by("viewer-previous").disabled = !neighbour(-1);
    by("viewer-next").disabled = !neighbour(1);
    if (viewer.open) return;
    viewer.showModal();
    viewer.focus();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.tile");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    enlarge(link);
  });
  viewer.addEventListener("click", (event) => {
    if (event.target === by("viewer-previous")) enlarge(neighbour(-1));
    else if (event.target === by("viewer-next")) enlarge(neighbour(1));
    else viewer.close();
  });
  viewer.addEventListener("close", () => {
    if (!current.isConnected) return;
    current.focus();
    current.scrollIntoView({ block: "nearest" });
  });
  viewer.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [-1], ArrowRight: [1], ArrowUp: [-1, 1], ArrowDown: [1, 1] };
    const [step, along] = steps[event.key] ?? [];
    if (!step) return;
    event.preventDefault();
    enlarge(neighbour(step, along && current.dataset.column));
  });
})();
