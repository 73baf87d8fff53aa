// What several pages need: the texts, and forms and links that tell what they do.

export const texts = JSON.parse(document.body.dataset.texts);

export function say(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Something is being worked on: look again soon, and show it anew once anything has changed, unless
// somebody is typing or reads elsewhere.
const again = document.querySelector("[data-again]");
if (again) {
  const pause = 1000 * again.dataset.again;
  const content = (page) => page.getElementById("content").textContent;
  const shown = content(document);
  const look = async () => {
    const busy = document.hidden || document.activeElement?.matches("input, textarea, select");
    try {
      const answer = busy ? null : await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = answer && new DOMParser().parseFromString(await answer.text(), "text/html");
      if (page && content(page) !== shown) return location.reload();
    } catch {
      // The station is away; it may come back.
    }
    setTimeout(look, pause);
  };
  setTimeout(look, pause);
}

// What takes its time says so, once.
for (const one of document.querySelectorAll("[data-slow]")) {
  const words = one.textContent;
  (one.form ?? one).addEventListener(one.form ? "submit" : "click", () => setTimeout(() => {
    one.textContent = texts.working;
    one.setAttribute("aria-disabled", "true");
  }));
  addEventListener("pageshow", () => {
    one.textContent = words;
    one.removeAttribute("aria-disabled");
  });
}

// Forms with files tell how much was sent, and what was wrong, without losing what was chosen.
for (const form of document.querySelectorAll("form[data-send]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

function send(form) {
  const told = form.querySelector("#told");
  const buttons = form.querySelectorAll("button");
  const request = new XMLHttpRequest();
  const end = (text) => {
    told.textContent = text;
    told.classList.toggle("fault", Boolean(text));
    for (const one of buttons) one.disabled = false;
  };
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    const share = Math.floor((100 * loaded) / total);
    told.textContent = share < 100 ? say(texts.sent, { share }) : texts.sending;
  });
  request.addEventListener("load", () => {
    if (request.status < 400) return location.assign(request.responseURL);
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    end(page.querySelector("[role=alert]")?.textContent ?? texts.lost);
  });
  request.addEventListener("error", () => end(texts.away));
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "text/html");
  request.send(new FormData(form));
  told.textContent = texts.sending;
  told.classList.remove("fault");
  for (const one of buttons) one.disabled = true;
  addEventListener("pageshow", () => end("")); // the page may come back from the browser's memory
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
