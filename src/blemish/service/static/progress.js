// How a batch goes on, by server-sent events; the browser connects anew by itself.

import { say, texts } from "./base.js";

const job = document.getElementById("job");
const said = document.getElementById("said");

function show(item) {
  const row = document.querySelector(`[data-position="${item.position}"]`);
  if (!row) return;
  const [name, result] = row.cells;
  if (item.inspection && !name.querySelector("a")) {
    const link = document.createElement("a");
    link.href = `/inspections/${item.inspection}`;
    link.append(...name.childNodes);
    name.append(link);
  }
  const badge = document.createElement("span");
  badge.className = `badge ${item.verdict || item.state}`;
  const sign = document.createElement("span");
  sign.setAttribute("aria-hidden", "true");
  sign.textContent = texts.signs[item.verdict] ?? "";
  badge.append(sign, ` ${texts.words[item.verdict || item.state]}`);
  result.replaceChildren(badge);
  if (item.fault) result.append(` ${item.fault.message}`);
}

if (job.dataset.events) {
  const source = new EventSource(job.dataset.events);
  source.addEventListener("progress", (event) => {
    const now = JSON.parse(event.data);
    document.getElementById("bar").value = now.done + now.failed;
    said.textContent = say(texts.progress, now) + (now.failed ? say(texts.failed, now) : "");
    now.items.forEach(show);
    if (!["done", "cancelled", "failed"].includes(now.state)) return;
    source.close();
    const one = job.dataset.one && now.items.find((item) => item.inspection);
    if (one) location.replace(`/inspections/${one.inspection}`);
    else location.reload();
  });
  source.addEventListener("error", () => (said.textContent = texts.lost));
}
