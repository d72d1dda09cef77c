// Fetches the part of the page that changes, while somebody looks at it.

const EVERY_MS = 10_000;
const state = document.getElementById("state");
const refreshed = document.getElementById("refreshed");

async function refresh() {
  if (document.hidden) return;
  try {
    const response = await fetch(state.dataset.url, { redirect: "error" });
    if (!response.ok) throw new Error(String(response.status));
    state.innerHTML = await response.text(); // a template of our own, escaped by the server
    refreshed.textContent = `Updated at ${new Date().toLocaleTimeString([], { hour12: false })}; refreshes itself every 10 seconds.`;
  } catch {
    refreshed.textContent = "The service does not answer at the moment; what stands here may be old.";
  }
}

setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
