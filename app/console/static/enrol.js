// Photos on their way into the gallery: sent one at a time, each with its own result.

import { el, icon, tag } from "./dom.js";
import { dropZone } from "./drop.js";
import { post } from "./http.js";

const FORCEABLE = new Set(["photo_quality", "looks_like_another", "several_faces"]);
const ABOUT_THE_NAME = new Set(["name_taken", "invalid_name"]);
const ADVICE = {
  face_size_px: (m) => `The face is ${m.measured.toFixed(0)} pixels wide; ${m.required} are needed. Come closer, or send a larger photo.`,
  sharpness: (m) => `The face is blurred (sharpness ${m.measured.toFixed(0)}, ${m.required} is needed).`,
  brightness: (m) => m.measured > m.required ? "The face is overexposed." : "The face is too dark.",
};

for (const form of document.querySelectorAll("[data-enrol]")) enrolment(form);

function enrolment(form) {
  const list = form.querySelector(".uploads");
  const waiting = [];
  let personId = form.dataset.add ? null : 0;
  let busy = false;

  async function send() {
    if (busy || (form.dataset.add && !form.reportValidity())) return;
    busy = true;
    form.setAttribute("aria-busy", "true");
    while (waiting.length && await sendOne(waiting[0])) waiting.shift();
    form.removeAttribute("aria-busy");
    busy = false;
    finish();
  }

  // False where the name stands in the way: the photos stay in the queue until it is changed.
  async function sendOne(upload, force = false) {
    state(upload, "quiet", "photo", "Checking…");
    try {
      const answer = await post(target(), fields(upload, force));
      if (form.dataset.add) personId = answer.person.id;
      state(upload, "ok", "ok", "Added");
    } catch (error) {
      if (ABOUT_THE_NAME.has(error.code)) return nameRefused(error, upload);
      refused(upload, error);
    }
    return true;
  }

  const target = () => personId === null ? form.dataset.add : form.dataset.photos.replace(/\/0\/photos/, `/${personId}/photos`);

  function fields(upload, force) {
    const name = personId === null ? { name: form.elements.name.value } : {};
    return { image: upload.file, domain: document.body.dataset.domain, ...name, ...(force ? { force: "true" } : {}) };
  }

  function nameRefused(error, upload) {
    state(upload, "quiet", "photo", "Waiting");
    form.querySelector(".field-error").textContent = error.message;
    form.elements.name.setAttribute("aria-invalid", "true");
    form.elements.name.focus();
    return false;
  }

  function refused(upload, error) {
    upload.refused = true;
    const advice = (error.details.missed ?? []).map((missed) => ADVICE[missed.check]?.(missed) ?? missed.check);
    const lines = advice.length ? advice : [sentence(error)];
    state(upload, "bad", "bad", "Not added", lines);
    if (!("admin" in form.dataset) || !FORCEABLE.has(error.code) || error.code === "several_faces") return;
    const anyway = el("button", { type: "button", class: "button small" }, "Enrol anyway");
    anyway.addEventListener("click", async () => { upload.refused = false; await sendOne(upload, true); finish(); });
    upload.node.querySelector(".upload-text").append(anyway);
  }

  function finish() {
    const added = list.querySelectorAll(".tag.ok").length;
    form.querySelector("[data-done]")?.remove();
    if (!added || waiting.length) return;
    form.querySelector("[data-send]")?.setAttribute("hidden", "");
    const where = form.dataset.person.replace(/\/0(?=$|\?)/, `/${personId}`);
    const isWhole = ![...list.children].some((node) => node.querySelector(".tag.bad"));
    if (isWhole) { location.href = where; return; }
    form.append(el("p", { class: "row", "data-done": "" }, el("a", { class: "button primary", href: where }, `Go on with ${added} ${added === 1 ? "photo" : "photos"}`)));
  }

  dropZone(form.querySelector(".drop"), (files) => {
    for (const file of files) waiting.push(row(list, file));
    form.querySelector("[data-send]")?.removeAttribute("hidden");
    if ("immediate" in form.dataset) send();
  });
  form.elements.name?.addEventListener("input", () => {
    form.querySelector(".field-error").textContent = "";
    form.elements.name.removeAttribute("aria-invalid");
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!waiting.length && !list.children.length) {
      form.querySelector(".drop input").focus();
      form.querySelector(".field-error").textContent = "Choose at least one photo.";
      return;
    }
    send();
  });
}

function row(list, file) {
  const image = el("img", { alt: "", width: "56", height: "56", src: URL.createObjectURL(file) });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "avatar" }, icon("photo"))));
  const node = el("li", { class: "upload" }, image, el("div", { class: "upload-text" }, el("p", { class: "strong break" }, file.name), el("div", { class: "upload-state" }, tag("quiet", "photo", "Waiting"))));
  list.append(node);
  return { file, node };
}

function state(upload, look, symbol, text, lines = []) {
  upload.node.querySelector(".button")?.remove();
  upload.node.querySelector(".upload-state").replaceChildren(tag(look, symbol, text), ...lines.map((line) => el("p", { class: "small" }, line)));
}

function sentence(error) {
  return error.code === "looks_like_another" && error.details.person
    ? `This looks like ${error.details.person} (distance ${error.details.distance}). Add the photo there, or merge the two.`
    : error.message;
}
