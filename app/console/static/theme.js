// Runs before the page is painted, so that a chosen theme does not flash in the other one first.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
document.documentElement.classList.add("scripted");
