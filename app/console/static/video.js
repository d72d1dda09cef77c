// The page of one video: follows its job until that ends, and puts an initial where a profile's photo does not come.

import { el } from "./dom.js";

const EVERY_MS = 3_000;
const progress = document.getElementById("progress");

if (progress) follow();
for (const image of document.querySelectorAll("img[data-else]")) {
  const replace = () => image.replaceWith(el("span", { class: "initials", "aria-hidden": "true" }, image.dataset.else));
  if (image.complete && !image.naturalWidth && image.currentSrc) replace();
  else image.addEventListener("error", replace);
}

// By the service's events; by asking where it has no stream left for us.
function follow() {
  const events = new EventSource(progress.dataset.events);
  events.addEventListener("status", (event) => show(JSON.parse(event.data)));
  events.addEventListener("end", () => { events.close(); location.reload(); });
  events.addEventListener("error", () => {
    progress.querySelector("[data-trouble]").hidden = events.readyState === EventSource.CLOSED;
    if (events.readyState === EventSource.CLOSED) setTimeout(ask, EVERY_MS);
  });
}

async function ask() {
  const response = document.hidden ? null : await fetch(progress.dataset.status, { redirect: "error" }).catch(() => null);
  if (response?.status === 404) return location.reload(); // it was deleted, and the page says so
  if (response?.ok) {
    const status = await response.json();
    if (!["queued", "running"].includes(status.state)) return location.reload();
    show(status);
  }
  progress.querySelector("[data-trouble]").hidden = document.hidden || Boolean(response?.ok);
  setTimeout(ask, EVERY_MS);
}

function show(status) {
  progress.querySelector("[data-trouble]").hidden = true;
  progress.querySelector("progress").value = status.percent;
  for (const place of progress.querySelectorAll("[data-tell]")) place.textContent = status[place.dataset.tell];
  const title = progress.querySelector("h2");
  if (status.stage_words && title.textContent !== status.stage_words) title.textContent = status.stage_words;
  const stages = [...progress.querySelectorAll("[data-stage]")];
  const reached = stages.findIndex((stage) => stage.dataset.stage === status.stage);
  stages.forEach((stage, place) => {
    stage.classList.toggle("past", place < reached);
    if (place === reached) stage.setAttribute("aria-current", "step");
    else stage.removeAttribute("aria-current");
  });
}
