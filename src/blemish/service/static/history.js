// Select all on a page, and count what is selected.

import { say, texts } from "./base.js";

const boxes = [...document.querySelectorAll('input[name="ids"]')];
const all = document.getElementById("all");
const bar = document.querySelector(".bar");

function count() {
  const chosen = boxes.filter((one) => one.checked).length;
  document.getElementById("count").textContent = say(texts.selected, { count: chosen });
  bar.hidden = !chosen;
  all.checked = chosen === boxes.length;
  all.indeterminate = chosen > 0 && chosen < boxes.length;
}

if (all) {
  all.addEventListener("change", () => {
    for (const one of boxes) one.checked = all.checked;
    count();
  });
  for (const one of boxes) one.addEventListener("change", count);
  count();
}
