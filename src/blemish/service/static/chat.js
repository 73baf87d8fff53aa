// The answer appears while it is given.

import { events, say, texts } from "./base.js";

const form = document.querySelector(".chat form");
const turns = document.getElementById("turns");
const question = document.getElementById("question");
const hush = document.getElementById("hush");
const ask = form.querySelector(".main");
let leave = null;

function turn(role, name) {
  document.getElementById("no-turns")?.remove();
  turns.hidden = false;
  const item = document.createElement("li");
  item.className = role;
  const who = document.createElement("b");
  who.textContent = name;
  const text = document.createElement("span");
  item.append(who, text);
  turns.append(item);
  return text;
}

async function answer(asked, text) {
  leave = new AbortController();
  const response = await fetch(form.dataset.stream, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ question: asked }),
    signal: leave.signal,
  });
  if (!response.ok) throw new Error((await response.json()).detail);
  for await (const event of events(response.body)) {
    if (event.name === "failed") throw new Error(event.data.message);
    text.textContent += event.data.text ?? "";
    turns.scrollTop = turns.scrollHeight;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = question.value.trim();
  if (!asked || leave) return;
  turn("user", texts.you).textContent = asked;
  const text = turn("assistant", form.dataset.name);
  turns.setAttribute("aria-busy", "true"); // read out once it is whole
  question.value = "";
  ask.hidden = true;
  hush.hidden = false;
  try {
    await answer(asked, text);
  } catch (error) {
    const fault = document.createElement("span");
    fault.className = "fault";
    fault.textContent = say(text.textContent ? texts.broken : texts.fault, { message: error.message });
    if (error.name !== "AbortError") text.after(" ", fault);
  }
  leave = null;
  turns.removeAttribute("aria-busy");
  turns.scrollTop = turns.scrollHeight;
  ask.hidden = false;
  hush.hidden = true;
  question.focus();
});

hush.addEventListener("click", () => leave?.abort());
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
turns.scrollTop = turns.scrollHeight;
