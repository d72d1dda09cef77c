// What every page has: the theme, the menu, the domain switcher, and questions before something is done for good.

const root = document.documentElement;

document.getElementById("theme")?.addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

for (const form of document.querySelectorAll("[data-submit-on-change]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

const menu = document.querySelector("details.menu");
document.addEventListener("click", (event) => {
  if (menu?.open && !menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// On the document, because parts of a page are replaced while somebody looks at it.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm || form.dataset.confirmed) return;
  event.preventDefault();
  ask(form.dataset, () => {
    form.dataset.confirmed = "yes";
    form.requestSubmit();
  });
});

for (const form of document.querySelectorAll("[data-typed]")) {
  const button = form.querySelector("button");
  const isTyped = () => form.confirmation.value.trim() === form.dataset.typed;
  button.disabled = !isTyped();
  form.addEventListener("input", () => { button.disabled = !isTyped(); });
}

function ask({ confirm, yes: yesText = "Remove", no: noText = "Keep" }, onYes) {
  const dialog = document.createElement("dialog");
  const text = Object.assign(document.createElement("p"), { textContent: confirm });
  const yes = Object.assign(document.createElement("button"), { className: "button danger", textContent: yesText });
  const no = Object.assign(document.createElement("button"), { className: "button", textContent: noText, autofocus: true });
  const row = Object.assign(document.createElement("div"), { className: "row" });
  row.append(yes, no);
  dialog.append(text, row);
  yes.addEventListener("click", () => { dialog.close(); onYes(); });
  no.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
