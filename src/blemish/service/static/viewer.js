// The part and its reference, moved and zoomed in step; marked places; a box drawn by a person.

import "./base.js";

const viewer = document.getElementById("viewer");
const panes = [...viewer.querySelectorAll(".pane")];
const stages = panes.map((pane) => pane.querySelector(".stage"));
const group = viewer.querySelector(".panes");
const { width, height } = stages[0].dataset;
const MOST = 16;
let view = { zoom: 1, x: 0, y: 0 }; // x and y in shares of a pane: both panes may differ in size

group.classList.add("scaled");
group.style.setProperty("--letter", `${Math.max(width, height) / 26}px`);

function show(next, moving = false) {
  const zoom = Math.min(MOST, Math.max(1, next.zoom));
  const clamp = (value) => Math.min(0, Math.max(1 - zoom, value));
  view = { zoom, x: clamp(next.x), y: clamp(next.y) };
  group.style.setProperty("--zoom", zoom);
  stages.forEach((stage, at) => {
    const { clientWidth: wide, clientHeight: high } = panes[at];
    stage.classList.toggle("moving", moving);
    stage.style.transform = `translate(${view.x * wide}px, ${view.y * high}px) scale(${zoom})`;
    panes[at].classList.toggle("near", zoom > 1);
  });
}

// Zoom so that the point at (x, y), in shares of a pane, stays where it is.
function zoomBy(factor, x = 0.5, y = 0.5, moving = false) {
  const zoom = Math.min(MOST, Math.max(1, view.zoom * factor));
  const by = zoom / view.zoom;
  show({ zoom, x: x - (x - view.x) * by, y: y - (y - view.y) * by }, moving);
}

const share = (event, pane) => {
  const box = pane.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};

// From shares of a pane to pixels of the part, which is fitted into the pane.
function pixel(x, y) {
  const { clientWidth: wide, clientHeight: high } = panes[0];
  const scale = Math.min(wide / width, high / height);
  const inside = [((x - view.x) / view.zoom) * wide, ((y - view.y) / view.zoom) * high];
  const margins = [(wide - width * scale) / 2, (high - height * scale) / 2];
  return inside.map((value, at) => {
    const most = at ? height : width;
    return Math.min(most, Math.max(0, Math.round((value - margins[at]) / scale)));
  });
}

const KEYS = {
  "+": () => zoomBy(1.4),
  "=": () => zoomBy(1.4),
  "-": () => zoomBy(1 / 1.4),
  0: () => show({ zoom: 1, x: 0, y: 0 }),
  ArrowLeft: () => show({ ...view, x: view.x + 0.1 }),
  ArrowRight: () => show({ ...view, x: view.x - 0.1 }),
  ArrowUp: () => show({ ...view, y: view.y + 0.1 }),
  ArrowDown: () => show({ ...view, y: view.y - 0.1 }),
};
document.getElementById("zoom-in").addEventListener("click", KEYS["+"]);
document.getElementById("zoom-out").addEventListener("click", KEYS["-"]);
document.getElementById("zoom-all").addEventListener("click", KEYS[0]);
addEventListener("resize", () => show(view, true));

for (const pane of panes) {
  const fingers = new Map();
  pane.addEventListener("keydown", (event) => {
    const arrow = event.key.startsWith("Arrow");
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || (arrow && view.zoom === 1)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  pane.addEventListener("wheel", (event) => {
    // A page that is scrolled past the picture goes on scrolling.
    if (!event.ctrlKey && view.zoom === 1 && document.activeElement !== pane) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 400), ...share(event, pane), true);
  }, { passive: false });
  pane.addEventListener("dblclick", (event) => zoomBy(2, ...share(event, pane)));
  pane.addEventListener("pointerdown", (event) => {
    if (marking && pane === panes[0]) return startBox(event, pane);
    fingers.set(event.pointerId, event);
    if (view.zoom > 1 || fingers.size > 1) pane.setPointerCapture(event.pointerId);
  });
  pane.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
    if (other) {
      const away = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      zoomBy(away(event) / Math.max(1, away(before)), ...share(other, pane), true);
    } else if (view.zoom > 1) {
      const [x, y] = share(event, pane);
      const [left, top] = share(before, pane);
      show({ ...view, x: view.x + x - left, y: view.y + y - top }, true);
    }
    fingers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    pane.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
}

const heat = document.getElementById("heat");
heat?.addEventListener("input", () => group.style.setProperty("--heat", heat.value / 100));
const outlines = document.getElementById("outlines");
outlines?.addEventListener("change", () => group.classList.toggle("no-marks", !outlines.checked));

// Hover on either side, or focus in the list, lights both. (Drawings that listen to focus would be
// stops of the tab key.)
for (const one of document.querySelectorAll("[data-region]")) {
  const same = document.querySelectorAll(`[data-region="${one.dataset.region}"]`);
  const light = (on) => same.forEach((part) => part.classList.toggle("lit", on));
  one.addEventListener("pointerenter", () => light(true));
  one.addEventListener("pointerleave", () => light(false));
  if (one.tagName !== "BUTTON") continue;
  one.addEventListener("focus", () => light(true));
  one.addEventListener("blur", () => light(false));
  one.addEventListener("click", () => approach(one.dataset.region));
}

// Zoom to a place so that it fills a third of the pane.
function approach(region) {
  const place = viewer.querySelector(`.place[data-region="${region}"]`);
  const [x0, y0, x1, y1] = place.dataset.box.split(" ").map(Number);
  const { clientWidth: wide, clientHeight: high } = panes[0];
  const scale = Math.min(wide / width, high / height);
  const large = Math.max(((x1 - x0) * scale) / wide, ((y1 - y0) * scale) / high);
  const zoom = Math.min(8, Math.max(1, 0.33 / large));
  const centre = [
    0.5 + (((x0 + x1) / 2 - width / 2) * scale) / wide,
    0.5 + (((y0 + y1) / 2 - height / 2) * scale) / high,
  ];
  show({ zoom, x: 0.5 - centre[0] * zoom, y: 0.5 - centre[1] * zoom });
  panes[0].scrollIntoView({ block: "nearest" }); // the list may be far below the picture
}

let marking = false;
const draw = document.getElementById("mark-draw");
const edges = ["left", "top", "right", "bottom"].map((name) => document.getElementById(name));
const box = viewer.querySelector(".box");
draw.addEventListener("click", () => {
  marking = !marking;
  draw.setAttribute("aria-pressed", marking);
  panes[0].classList.toggle("marking", marking);
  if (marking) panes[0].scrollIntoView({ block: "nearest" });
});
for (const edge of edges) edge.addEventListener("input", showBox);

function showBox() {
  const [x0, y0, x1, y1] = edges.map((edge) => Number(edge.value));
  const whole = edges.every((edge) => edge.value !== "") && x0 < x1 && y0 < y1;
  box.toggleAttribute("hidden", !whole);
  if (!whole) return;
  const shape = { x: x0, y: y0, width: x1 - x0, height: y1 - y0 };
  for (const [name, value] of Object.entries(shape)) box.setAttribute(name, value);
}

function startBox(event, pane) {
  event.preventDefault();
  pane.setPointerCapture(event.pointerId);
  const start = pixel(...share(event, pane));
  const drag = (moved) => {
    const end = pixel(...share(moved, pane));
    const low = start.map((value, at) => Math.min(value, end[at]));
    const high = start.map((value, at) => Math.max(value, end[at]));
    [...low, ...high].forEach((value, at) => (edges[at].value = value));
    showBox();
  };
  pane.addEventListener("pointermove", drag);
  pane.addEventListener("pointerup", () => {
    pane.removeEventListener("pointermove", drag);
    draw.click();
  }, { once: true });
}

show(view, true);
