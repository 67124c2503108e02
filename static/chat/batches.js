// Refreshes the part of a batch's page that changes while it runs, as long as somebody looks at it.
const REFRESH_MS = 2000;
const RETRY_MS = 5000;
const live = document.querySelector("[data-live]");

function openRows() {
  return [...live.querySelectorAll("details[open] .number")].map((each) => each.textContent);
}

function controls(within) {
  return [...within.querySelectorAll("a, button, summary")];
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
  let wait = REFRESH_MS;
  if (document.visibilityState === "visible") {
    try {
      const response = await fetch(live.dataset.live + location.search, { headers: { "HX-Request": "true" } });
      if (!response.ok) throw new Error(response.statusText);
      replace(await response.text());
    } catch {
      wait = RETRY_MS;
    }
  }
  if (live.querySelector("[data-is-active]")) setTimeout(refresh, wait);
}

if (live?.querySelector("[data-is-active]")) setTimeout(refresh, REFRESH_MS);
