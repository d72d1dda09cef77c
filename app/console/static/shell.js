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

for (const form of document.querySelectorAll("[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.confirmed) return;
    event.preventDefault();
    ask(form.dataset.confirm, () => {
      form.dataset.confirmed = "yes";
      form.requestSubmit();
    });
  });
}

for (const form of document.querySelectorAll("[data-typed]")) {
  const button = form.querySelector("button");
  const isTyped = () => form.confirmation.value.trim() === form.dataset.typed;
  button.disabled = !isTyped();
  form.addEventListener("input", () => { button.disabled = !isTyped(); });
}

function ask(question, onYes) {
  const dialog = document.createElement("dialog");
  const text = Object.assign(document.createElement("p"), { textContent: question });
  const yes = Object.assign(document.createElement("button"), { className: "button danger", textContent: "Remove" });
  const no = Object.assign(document.createElement("button"), { className: "button", textContent: "Keep", autofocus: true });
  const row = Object.assign(document.createElement("div"), { className: "row" });
  row.append(yes, no);
  dialog.append(text, row);
  yes.addEventListener("click", () => { dialog.close(); onYes(); });
  no.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
