// Pictures come in by drop, paste and camera; all of them end in the form's own file field.

import { say, texts } from "./base.js";

const form = document.getElementById("drop");
const told = document.getElementById("told");

function send(files) {
  const wanted = [...files].filter((file) => /^image\//.test(file.type) || /\.(zip|tiff?)$/i.test(file.name));
  if (!wanted.length) {
    told.textContent = texts.not_picture;
    return;
  }
  const held = new DataTransfer();
  for (const file of wanted) held.items.add(file);
  document.getElementById("files").files = held.files;
  form.requestSubmit();
}

if (form) {
  const field = document.getElementById("files");
  field.addEventListener("change", () => field.files.length && form.requestSubmit());
  for (const name of ["dragenter", "dragover"]) {
    addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.add("over");
    });
  }
  addEventListener("dragleave", (event) => event.relatedTarget || form.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("over");
    send(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) send(event.clipboardData.files);
  });
  camera(document.getElementById("camera"), document.getElementById("camera-open"));
}

function camera(panel, open) {
  const video = panel.querySelector("video");
  const close = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
    panel.hidden = true;
    open.focus();
  };
  open.addEventListener("click", async () => {
    try {
      const wanted = { video: { facingMode: "environment", width: { ideal: 1920 } } };
      if (!navigator.mediaDevices) throw new Error(texts.not_secure);
      video.srcObject = await navigator.mediaDevices.getUserMedia(wanted);
      panel.hidden = false;
      await video.play();
      document.getElementById("camera-take").focus();
    } catch (error) {
      told.textContent = say(texts.no_camera, { message: error.message });
    }
  });
  document.getElementById("camera-stop").addEventListener("click", close);
  document.getElementById("camera-take").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    const name = `camera ${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.png`;
    canvas.toBlob((blob) => {
      close();
      send([new File([blob], name, { type: "image/png" })]);
    }, "image/png");
  });
}

// The pictures that were chosen for a new line, before they are sent.
const chosen = document.getElementById("chosen");
const references = document.getElementById("references");
if (chosen) {
  const detector = document.getElementById("detector");
  const need = () => (references.required = detector.selectedOptions[0].dataset.needs === "references");
  detector.addEventListener("change", need);
  need();
  references.addEventListener("change", () => {
    for (const shown of chosen.querySelectorAll("img")) URL.revokeObjectURL(shown.src);
    const pictures = [...references.files].filter((file) => /^image\//.test(file.type));
    chosen.replaceChildren(
      ...pictures.slice(0, 24).map((file) => {
        const item = document.createElement("li");
        const shown = new Image();
        shown.className = "thumb";
        shown.alt = file.name;
        shown.src = URL.createObjectURL(file);
        item.append(shown);
        return item;
      }),
    );
  });
}
