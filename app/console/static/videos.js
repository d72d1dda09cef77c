// The list of videos: sends new ones, one after the other, and keeps up with those that are not done.

import { el, icon, tag } from "./dom.js";
import { dropZone, isVideo } from "./drop.js";
import { send } from "./http.js";

const EVERY_MS = 3_000;
const MEGABYTE = 1024 * 1024;
const rows = document.getElementById("rows");
const form = document.getElementById("send");

if (form) uploads(form);
setInterval(() => { if (!document.hidden && rows.querySelector("[data-open]")) refresh(); }, EVERY_MS);

// Replaces the rows that changed, one by one, so that whoever stands on a button of one keeps standing there.
async function refresh() {
  const response = await fetch(rows.dataset.url, { redirect: "error" }).catch(() => null);
  if (!response?.ok) return; // the next look tells
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html"); // a template of our own
  document.getElementById("total").textContent = fresh.querySelector("[data-total]")?.dataset.total ?? "0 videos";
  if (fresh.querySelectorAll("[data-job]").length !== rows.querySelectorAll("[data-job]").length) {
    rows.replaceChildren(...fresh.body.childNodes);
    return;
  }
  for (const row of fresh.querySelectorAll("[data-job]")) {
    const old = rows.querySelector(`[data-job="${row.dataset.job}"]`);
    if (!old || old.dataset.seen === row.dataset.seen) continue;
    const stands = old.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    old.replaceWith(row);
    if (stands) (row.querySelector(`[data-focus="${stands}"]`) ?? row.querySelector("a")).focus();
  }
}

function uploads(section) {
  const list = section.querySelector(".uploads");
  const waiting = [];
  let busy = false;

  async function next() {
    if (busy) return;
    busy = true;
    const pages = [];
    while (waiting.length) pages.push(await sendOne(waiting.shift()));
    busy = false;
    const sent = pages.filter(Boolean);
    if (sent.length === 1 && pages.length === 1) location.href = sent[0];
    else refresh();
  }

  // The address of the video's page; null where it was not taken.
  async function sendOne(upload) {
    if (upload.stopped) return null;
    if (upload.file.size > Number(section.dataset.maxMb) * MEGABYTE) {
      return say(upload, "bad", "bad", "Not sent", `It has ${Math.ceil(upload.file.size / MEGABYTE)} MB; at most ${section.dataset.maxMb} MB can be sent.`);
    }
    say(upload, "quiet", "video", "Sending");
    try {
      const url = new URL(section.dataset.url, location.href);
      url.searchParams.set("domain", document.body.dataset.domain);
      const answer = await send(url, upload.file, { onProgress: (share) => progress(upload, share), signal: upload.stop.signal });
      say(upload, "ok", "ok", "Sent");
      return answer.page;
    } catch (error) {
      return upload.stopped ? null : say(upload, "bad", "bad", "Not sent", error.message);
    }
  }

  dropZone(section.querySelector(".drop"), (files) => {
    for (const file of files) waiting.push(row(list, file));
    next();
  }, { accepts: isVideo });
  addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
}

function row(list, file) {
  const stop = new AbortController();
  const bar = el("progress", { max: "1", value: "0", "aria-label": `${file.name}: sent` });
  const giveUp = el("button", { type: "button", class: "icon-button", title: "Do not send", "aria-label": `Do not send ${file.name}` }, icon("stop"));
  const node = el("li", { class: "upload" }, el("span", { class: "avatar" }, icon("video")),
    el("div", { class: "upload-text" }, el("p", { class: "strong break" }, file.name), bar, el("div", { class: "upload-state" }, tag("quiet", "wait", "Waiting"))), giveUp);
  const upload = { file, node, bar, stop, stopped: false };
  giveUp.addEventListener("click", () => { upload.stopped = true; stop.abort(); say(upload, "warn", "stop", "Not sent"); });
  list.append(node);
  return upload;
}

function progress(upload, share) {
  upload.bar.value = share;
  const text = share < 1 ? `${Math.floor(100 * share)} % of ${(upload.file.size / MEGABYTE).toFixed(1)} MB` : "Looking at the file";
  upload.node.querySelector(".upload-state").lastChild.lastChild.textContent = text;
}

function say(upload, look, symbol, text, line) {
  if (look !== "quiet") {
    upload.bar.remove();
    upload.node.querySelector("button")?.remove();
  }
  upload.node.querySelector(".upload-state").replaceChildren(tag(look, symbol, text), ...(line ? [el("p", { class: "small" }, line)] : []));
  return null;
}
