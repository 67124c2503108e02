// Update an open transcript: often while an answer is being written, seldom otherwise.

const ACTIVE_MS = 1500;
const IDLE_MS = 15_000;
const FAILED_MS = 30_000;

export function follow(messages) {
  // New messages appear on the last page only.
  if (!messages || "hasNext" in messages.dataset) return;
  schedule(messages, messages.dataset.live === "active" ? ACTIVE_MS : IDLE_MS);
}

function schedule(messages, wait) {
  setTimeout(() => update(messages), wait);
}

async function update(messages) {
  if (document.hidden) {
    document.addEventListener("visibilitychange", () => update(messages), { once: true });
    return;
  }
  const address = new URL(location.href);
  address.searchParams.set("live", "1");
  address.hash = "";
  const response = await fetch(address, { credentials: "same-origin" }).catch(() => null);
  // Signed out, no permission any more, erased: leave the page as it is.
  if (response && (response.redirected || [403, 404].includes(response.status))) return;
  if (!response?.ok) return schedule(messages, FAILED_MS);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  merge(messages, page.body);
  schedule(messages, page.body.querySelector(".state-running, .state-queued") ? ACTIVE_MS : IDLE_MS);
}

// Replace messages that look different, and add new ones. What the reviewer has opened stays open.
function merge(messages, page) {
  for (const article of [...page.querySelectorAll("article.message")]) {
    const shown = document.getElementById(article.id);
    if (shown?.dataset.fingerprint === article.dataset.fingerprint) continue;
    if (shown) keepState(shown, article), shown.replaceWith(article);
    else if (article.parentElement === page) messages.append(article);
  }
}

function keepState(shown, article) {
  for (const name of [".run-details", ".thinking"]) {
    const details = article.querySelector(name);
    if (details) details.open = Boolean(shown.querySelector(name)?.open);
  }
  if (document.activeElement === shown) queueMicrotask(() => article.focus({ preventScroll: true }));
}
