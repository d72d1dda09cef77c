// An answer of the pipeline as it is read: boxes over the photo, and for each face both galleries side by side.

import { el, icon, tag } from "./dom.js";

const percent = (value) => `${value.toFixed(0)} %`;

export function renderAnswer(answer, { image, boxes, results, faceUrl }) {
  const pictures = (name) => {
    const face = answer.gallery_faces?.[name];
    return face === undefined ? null : faceUrl.replace("/0.jpg", `/${face}.jpg`);
  };
  const others = isReversed(answer) ? answer.pkl_results : answer.pgvector_results;
  const faces = answer.recognized_faces.map((face, index) => ({ face, other: isCompared(answer) ? others?.[index] : undefined, index }));
  const cards = faces.map((each) => card(each, answer, image, pictures));
  results.removeAttribute("aria-busy");
  results.replaceChildren(summary(answer), el("ol", { class: "face-cards" }, cards));
  boxes.replaceChildren(...faces.map((each) => box(each, image, cards[each.index])));
  shortenLabels(boxes);
  new ResizeObserver(() => shortenLabels(boxes)).observe(boxes);
  cards.forEach((node, index) => pair(node, boxes.children[index]));
}

// After the cutover, in dual mode, pgvector answers and the PKL shadows.
const isReversed = (answer) => answer.answered_by === "pgvector";
const failureOf = (answer) => answer.comparison?.candidate_error ?? answer.comparison?.pkl_error;
const isCompared = (answer) => answer.mode === "dual" && !failureOf(answer) && answer.comparison?.sampled !== false;

function summary(answer) {
  const faces = answer.recognized_faces;
  const known = faces.filter((face) => face.name !== null).length;
  const times = answer.timing_ms ?? {};
  return el("div", { class: "summary" },
    el("p", { class: "strong" }, `${faces.length} ${faces.length === 1 ? "face" : "faces"}, ${known} known`),
    verdict(answer),
    el("p", { class: "muted small times" }, `Detect and embed ${times.embed?.toFixed(0)} ms · search ${times.search?.toFixed(1)} ms · mode ${answer.mode}`));
}

function verdict(answer) {
  const { comparison, mode } = answer;
  if (mode !== "dual" || !comparison) return null;
  if (failureOf(answer)) return tag("warn", "warn", `${isReversed(answer) ? "The PKL" : "pgvector"} gave no answer: ${failureOf(answer).message}`);
  if (!isCompared(answer)) return tag("quiet", "wait", "Not compared: only a share of the requests is");
  const compared = comparison.faces ?? [comparison];
  const different = compared.filter(differs).length;
  if (!different) return tag("ok", "equal", "Both galleries agree");
  return tag("warn", "differ", `The galleries differ on ${different} of ${compared.length} ${compared.length === 1 ? "face" : "faces"}`);
}

const differs = (face) => !face.top1_match || face.top5_overlap_pct < 100;

function card({ face, other, index }, answer, image, pictures) {
  const isDual = isCompared(answer);
  const compared = isDual && (answer.comparison.faces ?? [answer.comparison])[index];
  const title = el("h3", {}, face.name ?? "Nobody known");
  const head = el("div", { class: "face-head" }, crop(image, face.box), el("div", { class: "grow" }, el("p", { class: "muted small" }, `Face ${index + 1}`), title), compared ? agreement(compared) : null);
  const [main, shadow] = answer.mode === "pgvector" || isReversed(answer) ? ["pgvector", "PKL"] : ["PKL", "pgvector"];
  const columns = el("div", { class: isDual ? "sides two" : "sides" },
    side(main, face, isDual ? other : null, pictures, isDual && "answers"), isDual && other ? side(shadow, other, face, pictures, "shadows") : null);
  return el("li", { class: "card face-card", id: `face-${index + 1}`, tabindex: "-1" }, head, columns);
}

function agreement(compared) {
  if (!compared.top1_match) return tag("warn", "differ", "Different person");
  return differs(compared) ? tag("warn", "differ", "Same person, other top 5") : tag("ok", "equal", "Same answer");
}

function side(title, face, other, pictures, part) {
  const [best] = face.matches;
  const theirs = new Map((other?.matches ?? []).map((match, rank) => [match.name, rank]));
  const isOther = part && other && (other.name ?? null) !== (face.name ?? null);
  return el("div", { class: isOther ? "side differs" : "side" },
    el("p", { class: "side-title" }, title, part ? el("span", { class: "part" }, part) : null, isOther ? el("span", { class: "mark" }, "differs") : null),
    best ? bestMatch(best, pictures) : el("p", { class: "muted nobody" }, "Nobody within the threshold"),
    face.matches.length > 1 ? el("ol", { class: "matches", start: "2" }, face.matches.slice(1).map((match) => matchLine(match, part && other && !theirs.has(match.name)))) : null);
}

function bestMatch(match, pictures) {
  const picture = pictures(match.image);
  const meter = el("span", { class: "meter", "aria-hidden": "true" }, el("span"));
  meter.firstChild.style.width = `${Math.max(0, Math.min(1, match.similarity)) * 100}%`;
  return el("div", { class: "best" },
    picture ? el("img", { class: "gallery-face", src: picture, alt: `${match.name} in the gallery`, width: "56", height: "56" }) : null,
    el("div", { class: "grow" }, el("p", { class: "strong" }, match.name), meter,
      el("dl", { class: "numbers" }, number("Similarity", match.similarity.toFixed(4)), number("Distance", match.distance.toFixed(4)), number("Confidence", percent(match.confidence)))));
}

const number = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));

function matchLine(match, isOnlyHere) {
  return el("li", {}, el("span", { class: "grow" }, match.name, isOnlyHere ? el("span", { class: "mark" }, "only here") : null), el("span", { class: "number muted" }, match.similarity.toFixed(4)));
}

function crop(image, { x, y, w, h }) {
  const canvas = el("canvas", { class: "probe-face", width: "112", height: "112", role: "img", "aria-label": "The face on the photo" });
  const side = Math.max(w, h) * 1.3;
  if (image.naturalWidth) canvas.getContext("2d").drawImage(image, x + (w - side) / 2, y + (h - side) / 2, side, side, 0, 0, 112, 112);
  return canvas;
}

function box({ face, other, index }, image, target) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const name = face.name ?? "Unknown";
  const isDifferent = other !== undefined && (other.name ?? null) !== (face.name ?? null);
  const label = el("span", { class: "box-label" }, isDifferent ? icon("differ") : null, String(index + 1), el("span", { class: "box-name" }, name));
  const button = el("button", { type: "button", class: `box ${face.name ? "known" : "unknown"}${isDifferent ? " differs" : ""}`, "aria-controls": target.id,
    "aria-label": `Face ${index + 1}: ${name}${isDifferent ? ", the galleries differ" : ""}` }, label);
  const place = { left: face.box.x / width, top: face.box.y / height, width: face.box.w / width, height: face.box.h / height };
  for (const [edge, share] of Object.entries(place)) button.style[edge] = `${share * 100}%`;
  if (place.top < 0.12) button.classList.add("label-below");
  if (place.left > 0.6) button.classList.add("label-left");
  return button;
}

// Of labels that would cover each other only the first keeps its name; the others say it when they are pointed at.
function shortenLabels(boxes) {
  const free = [];
  for (const node of boxes.children) {
    node.classList.remove("brief");
    const place = node.querySelector(".box-label").getBoundingClientRect();
    const isCovered = free.some((other) => place.left < other.right && other.left < place.right && place.top < other.bottom && other.top < place.bottom);
    node.classList.toggle("brief", isCovered);
    free.push(isCovered ? node.querySelector(".box-label").getBoundingClientRect() : place);
  }
}

// Whoever looks at a face sees its card, and the other way round.
function pair(cardNode, boxNode) {
  const mark = (isOn) => [cardNode, boxNode].forEach((node) => node.classList.toggle("active", isOn));
  for (const node of [cardNode, boxNode]) {
    for (const name of ["mouseenter", "focusin"]) node.addEventListener(name, () => mark(true));
    for (const name of ["mouseleave", "focusout"]) node.addEventListener(name, () => mark(false));
  }
  boxNode.addEventListener("click", () => {
    cardNode.scrollIntoView({ block: "nearest", behavior: "smooth" });
    cardNode.focus({ preventScroll: true });
  });
}
