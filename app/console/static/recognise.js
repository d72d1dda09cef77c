// The page Recognise: a photo comes in by file, drop, paste or camera; the answer is drawn over it and beside it.

import { openCamera } from "./camera.js";
import { el, icon } from "./dom.js";
import { dropZone } from "./drop.js";
import { post } from "./http.js";
import { renderAnswer } from "./results.js";

const page = document.getElementById("recognise");
const [zone, figure, image, boxes, caption, results, another] =
  ["drop", "photo", "photo-image", "boxes", "photo-caption", "results", "another"].map((id) => document.getElementById(id));
const MEGABYTE = 1024 * 1024;
let running = 0;

async function recognise(file) {
  const run = ++running;
  await show(file);
  if (file.size > Number(page.dataset.maxMb) * MEGABYTE) {
    return refuse(new Error(`This file has ${(file.size / MEGABYTE).toFixed(1)} MB; at most ${page.dataset.maxMb} MB can be sent.`));
  }
  wait();
  try {
    const answer = await post(page.dataset.url, { image: file, domain: document.body.dataset.domain });
    if (run === running) renderAnswer(answer, { image, boxes, results, faceUrl: page.dataset.faceUrl });
  } catch (error) {
    if (run === running) refuse(error);
  }
}

async function show(file) {
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  boxes.replaceChildren();
  zone.hidden = true;
  figure.hidden = another.hidden = false;
  const isShown = await image.decode().then(() => true, () => false);
  figure.classList.toggle("unseen", !isShown);
  const name = file.name || "Photo from the clipboard";
  caption.textContent = isShown ? `${name} · ${image.naturalWidth} × ${image.naturalHeight} px`
    : `${name}: this browser cannot show the format; the service can read it.`;
}

function wait() {
  results.setAttribute("aria-busy", "true");
  results.replaceChildren(
    el("p", { class: "visually-hidden" }, "Recognising the photo"),
    el("div", { class: "card skeleton tall" }), el("div", { class: "card skeleton" }),
  );
}

function refuse(error) {
  results.removeAttribute("aria-busy");
  results.replaceChildren(el("div", { class: "notice bad", role: "alert" }, icon("bad"), el("p", {}, error.message)));
}

function startOver() {
  running += 1;
  zone.hidden = false;
  figure.hidden = another.hidden = true;
  results.replaceChildren(el("div", { class: "empty quiet" }, icon("people"), el("p", { class: "strong" }, "No photo yet")));
  zone.querySelector("input").focus();
}

dropZone(zone, ([file]) => recognise(file), { paste: true });
dropZoneOver(figure);
another.addEventListener("click", startOver);
openCamera({ onPhoto: recognise, onError: refuse, zone });

// A second photo may be dropped on the first.
function dropZoneOver(target) {
  target.addEventListener("dragover", (event) => event.preventDefault());
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) recognise(file);
  });
}
