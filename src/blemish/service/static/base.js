// What several pages need: the texts, and parts that only a page with scripts shows.

export const texts = JSON.parse(document.body.dataset.texts);

export function say(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

for (const part of document.querySelectorAll(".script")) part.hidden = false;

// Something is being worked on: look again soon, unless somebody is typing or reads elsewhere.
const again = document.querySelector("[data-again]");
if (again) {
  const look = () => {
    const busy = document.hidden || document.activeElement?.matches("input, textarea, select");
    if (busy) setTimeout(look, 2000);
    else location.reload();
  };
  setTimeout(look, 1000 * again.dataset.again);
}

// What fits a detector takes its time.
for (const one of document.querySelectorAll("[data-slow]")) {
  const words = one.textContent;
  one.addEventListener("click", () => setTimeout(() => {
    one.textContent = texts.working;
    one.setAttribute("aria-busy", "true");
  }));
  addEventListener("pageshow", () => (one.textContent = words));
}

// The events of a stream of server-sent events that came as an answer to a request.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const pieces = (held + value).split("\n\n");
    held = pieces.pop();
    for (const piece of pieces) {
      const name = /^event: (.*)$/m.exec(piece)?.[1] ?? "message";
      const data = /^data: (.*)$/m.exec(piece)?.[1];
      yield { name, data: data ? JSON.parse(data) : {} };
    }
  }
}
