// The Operations page keeps up to date by itself, unless it is paused or out of sight. Without scripts, it reloads.

const EVERY_MS = 5000;
const content = document.querySelector("[data-refresh]");

// The button of the new content that is the one in focus: its label names what it acts on.
function focusAgain(label) {
  if (!label || document.activeElement !== document.body) return;
  content.querySelector(`[aria-label="${CSS.escape(label)}"]`)?.focus();
}

async function refresh() {
  if (document.hidden) return;
  const response = await fetch(location.href, { credentials: "same-origin" });
  if (response.redirected || !response.ok) return location.reload();
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const found = page.getElementById(content.id);
  const label = content.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : "";
  if (found) content.replaceChildren(...found.childNodes);
  focusAgain(label);
}

async function keepUp() {
  // While the network is gone, the page stays as it is.
  await refresh().catch(() => {});
  setTimeout(keepUp, EVERY_MS);
}

if (content) setTimeout(keepUp, EVERY_MS);
