"use strict";

for (const control of document.querySelectorAll(".js")) control.hidden = false;

const root = document.documentElement;
const heat = document.getElementById("heat");
const marks = document.getElementById("marks");
const show = () => {
  root.style.setProperty("--heat", heat.value / 100);
  root.classList.toggle("no-marks", !marks.checked);
};
heat.addEventListener("input", show);
marks.addEventListener("change", show);
show(); // a reloaded page keeps its controls where they were

// Rows and cards take the same order. What has no value comes last either way.
function sort(header) {
  const column = header.cellIndex;
  const value = (row) => row.cells[column].dataset.value;
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const number = header.classList.contains("number"); // first click: highest on top
  const was = header.getAttribute("aria-sort");
  const down = was ? was === "ascending" : number;
  const body = header.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (!x || !y) return Boolean(y) - Boolean(x);
    return (number ? x - y : compare(x, y)) * (down ? -1 : 1);
  });
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const cards = rows.map((row) => document.getElementById(row.dataset.card));
  body.append(...rows);
  document.querySelector(".cards").append(...cards);
}

for (const button of document.querySelectorAll(".sortable button")) {
  button.addEventListener("click", () => sort(button.parentNode));
}
