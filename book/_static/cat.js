// The figure in which the reader drags the size of a perturbation. Its numbers are those of the table under it.
document.addEventListener("DOMContentLoaded", () => {
  const figure = document.querySelector(".drag");
  if (!figure) return;
  const range = figure.querySelector("input[type=range]");
  const sizes = range.dataset.sizes.split(" ");
  const cells = [...figure.querySelectorAll(".drag-grid td[data-attack]")];
  const rows = new Map([...figure.querySelectorAll(".drag-scores tbody tr")].map(
    row => [`${row.dataset.row} ${row.dataset.attack} ${row.dataset.size}`, [...row.cells].slice(3).map(cell => cell.textContent)]));
  const first = cells.find(cell => cell.dataset.row !== "image").dataset.row;
  const address = (row, attack, size) =>
    `${figure.dataset.pictures}/${row}-${size === "0" ? "clean" : `${attack}-${size}`}.webp`;

  function show() {
    const size = sizes[range.value];
    const written = size === "0" ? "nothing" : `${size}/255`;
    figure.querySelector("output").textContent = written;
    range.setAttribute("aria-valuetext", written);
    for (const cell of cells) {
      const { row, attack } = cell.dataset;
      const scores = rows.get(`${row === "image" ? first : row} ${attack} ${size}`);
      cell.querySelector("img").src = address(row, attack, size);
      const clean = row === "image" ? cell.parentElement.querySelector("td small").textContent : "100% · 1.00 · 0 px";
      cell.querySelector("small").textContent = !scores ? clean : row === "image" ? scores.at(-1) : scores.slice(0, -1).join(" · ");
    }
  }

  // The other sizes are fetched when the reader reaches for the control.
  function fetchAll() {
    for (const { dataset: { row, attack } } of cells)
      for (const size of sizes) new Image().src = address(row, attack, size);
  }

  range.disabled = false;
  range.addEventListener("input", show);
  ["focus", "pointerenter", "touchstart"].forEach(event => range.addEventListener(event, fetchAll, { once: true, passive: true }));
  show();
});
