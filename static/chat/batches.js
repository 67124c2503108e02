// Refreshes the part of a batch's page that changes while it runs, as long as somebody looks at it: when the server
// says that something has, and now and then in any case.
const POLL_MS = 2000;
// With a socket: for the time that is left, and for what was missed.
const CHECK_MS = 15_000;
const RETRY_MS = 5000;
// Two refreshes are at least so far apart.
const PAUSE_MS = 500;
const live = document.querySelector("[data-live]");
let socket = null;
let timer = 0;
let refreshedAt = 0;
let tries = 0;

function openRows() {
  return [...live.querySelectorAll("details[open] .number")].map((each) => each.textContent);
}

function controls(within) {
  return [...within.querySelectorAll("a, button, summary")];
}

function isActive() {
  return live.querySelector("[data-is-active]") !== null;
}

function replace(html) {
  const open = new Set(openRows());
  const place = controls(live).indexOf(document.activeElement);
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  for (const row of fresh.querySelectorAll("details")) {
    if (open.has(row.querySelector(".number").textContent)) row.open = true;
  }
  live.replaceChildren(fresh);
  if (place >= 0) controls(live)[place]?.focus();
}

async function refresh() {
  let wait = socket?.readyState === WebSocket.OPEN ? CHECK_MS : POLL_MS;
  refreshedAt = performance.now();
  if (document.visibilityState === "visible") {
    try {
      const response = await fetch(live.dataset.live + location.search, { headers: { "HX-Request": "true" } });
      if (!response.ok) throw new Error(response.statusText);
      replace(await response.text());
    } catch {
      wait = RETRY_MS;
    }
  }
  if (isActive()) refreshIn(wait);
  else socket?.close();
}

function refreshIn(waitMs) {
  clearTimeout(timer);
  timer = setTimeout(refresh, waitMs);
}

// Notices of the server say when to refresh. Without a socket the page polls.
function connect() {
  socket = new WebSocket(new URL(live.dataset.socket, location.href).href.replace(/^http/, "ws"));
  socket.onopen = () => {
    tries = 0;
    socket.send(JSON.stringify({ type: "watch" }));
    refreshIn(0); // for what has changed since the page was made
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type !== "changed" || frame.batch !== live.dataset.batch) return;
    refreshIn(Math.max(0, refreshedAt + PAUSE_MS - performance.now()));
  };
  socket.onclose = () => {
    if (!isActive()) return;
    refreshIn(POLL_MS);
    setTimeout(connect, Math.min(60_000, RETRY_MS * 2 ** tries++));
  };
}

if (live && isActive()) {
  refreshIn(POLL_MS);
  connect();
  document.addEventListener("visibilitychange", () => isActive() && refreshIn(0));
}
