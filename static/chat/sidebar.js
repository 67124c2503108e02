// The parts of the sidebar that htmx does not handle: drawer, menus, scroll position, focus and toasts.

import { config, current, url } from "./config.js";
import { openDialog } from "./dialogs.js";
import { setCookie } from "./preferences.js";

const REFRESH_AFTER_MS = 150;
const TOAST_MS = 10_000;
const NARROW = matchMedia("(max-width: 899px)");

let refreshTimer = 0;
// Selector of the element that had the focus before the list was replaced.
let focusedBefore = "";
// The row of the list that Tab stops at.
let stop = null;

// `onFailure(error)` is called if a part that is loaded on first use does not come.
export function startSidebar(onFailure) {
  const list = document.getElementById("conversations");
  keepScrollPosition(list);
  startKeys(list);
  startOptions(list, onFailure);
  startDragging(list, onFailure);
  startDrawer();
  startMenus();
  startToasts();
  document.body.addEventListener("htmx:configRequest", (event) => addListParameters(event, list));
  document.body.addEventListener("htmx:beforeRequest", (event) => postponeWhileInUse(event, list));
  document.body.addEventListener("htmx:beforeSwap", (event) => postponeWhileInUse(event, list));
  document.body.addEventListener("htmx:beforeSwap", (event) => rememberFocus(event, list));
  document.body.addEventListener("htmx:afterSettle", (event) => afterSwap(event));
}

// Reload the list. Several calls in a row cause one request.
export function refreshSidebar() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(() => {
    refreshTimer = 0;
    window.htmx?.trigger(document.body, "conversations-changed");
  }, REFRESH_AFTER_MS);
}

// An answer has started. A conversation that is first in the list already stays there, and only gets a dot.
export function showStart(conversation) {
  const list = document.getElementById("conversations");
  const row = list.querySelector(".is-today .conversation-item");
  if (row?.dataset.conversation !== conversation || isListStale(list)) return refreshSidebar();
  row.querySelector(".dot")?.remove();
  row.querySelector(".conversation-title").after(document.getElementById("running-dot").content.cloneNode(true));
}

// An answer has ended. In the conversation that is shown, only a dot goes; a list on its way may still have it.
export function showEnd(conversation) {
  const list = document.getElementById("conversations");
  const row = conversation === current.id && list.querySelector(`[data-conversation="${conversation}"]`);
  if (!row || isListStale(list)) return refreshSidebar();
  row.querySelector(".dot")?.remove();
}

// Whether a newer list is due or on its way, or the list shows what a search found.
function isListStale(list) {
  return refreshTimer || list.classList.contains("htmx-request") || document.getElementById("search").value;
}

// -- the list -------------------------------------------------------------------------------------

function addListParameters({ detail }, list) {
  if (!detail.path.startsWith(`${config.home}sidebar/`) || detail.path.includes("after=")) return;
  detail.parameters.current = current.id;
  if (detail.elt === list) {
    // The last conversation that is shown.
    detail.parameters.through = [...list.querySelectorAll("[data-through]")].at(-1)?.dataset.through ?? "";
  }
}

// A refresh would close an open menu or discard a half-typed title, so it waits.
function postponeWhileInUse(event, list) {
  if ((event.detail.requestConfig?.elt ?? event.detail.elt) !== list || !list.querySelector("[aria-expanded=true], .rename, .is-dragged")) return;
  event.preventDefault();
  setTimeout(refreshSidebar, 2_000);
}

function rememberFocus({ detail }, list) {
  if (detail.target !== list) return;
  const { activeElement } = document;
  const row = list.contains(activeElement) && activeElement.closest(".conversation-item");
  focusedBefore = row ? `[data-conversation="${row.dataset.conversation}"] ${activeElement.localName}` : "";
}

function afterSwap({ detail }) {
  const { target } = detail;
  const list = document.getElementById("conversations");
  leaveOut(list);
  setStop(list, document.activeElement.closest?.(".conversation-item") ?? stop ?? undefined);
  if (focusedBefore) target.querySelector?.(focusedBefore)?.focus({ preventScroll: true });
  focusedBefore = "";
  const field = target.querySelector?.(".rename [name=title]");
  field?.focus();
  field?.select();
  const row = document.querySelector("#conversations [aria-current] .conversation-title");
  if (!row || document.getElementById("search").value) return;
  const title = row.textContent;
  const shown = document.getElementById("title");
  if (shown.textContent === title) return;
  // The mark of an answer that is ready stays.
  document.title = document.title.replace(/^(● )?.* · /s, (_, mark = "") => `${mark}${title} · `);
  shown.textContent = title;
}

function keepScrollPosition(list) {
  const key = "chatsite.sidebar";
  try {
    list.scrollTop = Number(sessionStorage.getItem(key));
    addEventListener("pagehide", () => sessionStorage.setItem(key, list.scrollTop));
  } catch { /* the list starts at the top */ }
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !event.target.closest(".rename")) return;
    event.stopPropagation();
    event.target.closest(".rename").remove();
    refreshSidebar();
  });
  list.addEventListener("focusout", (event) => {
    const form = event.target.closest(".rename");
    if (!form || form.contains(event.relatedTarget) || form.classList.contains("htmx-request")) return;
    // Leaving the field saves the new title, as file managers do.
    if (event.target.value !== event.target.defaultValue) form.requestSubmit();
    else form.remove(), refreshSidebar();
  });
}

// -- keys -----------------------------------------------------------------------------------------

// The list is one stop of the Tab key: arrows move through it, and Tab goes on to the row's menu.
function startKeys(list) {
  list.addEventListener("keydown", (event) => {
    const row = event.target.closest(".conversation-item");
    if (!row || event.target.closest(".rename")) return;
    if (event.key === "m" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      openDialog(url.move(row.dataset.conversation));
      return;
    }
    const next = neighbour(list, row, event.key);
    if (!next) return;
    event.preventDefault();
    setStop(list, next);
    next.querySelector("a").focus();
  });
  list.addEventListener("focusin", ({ target }) => {
    const row = target.closest(".conversation-item");
    if (row) setStop(list, row);
  });
  leaveOut(list);
  setStop(list);
}

const ROW = ".conversation-item:has(> a)";

// The row that a key leads to. Looks at few rows, for there may be thousands.
function neighbour(list, row, key) {
  if (key === "Home") return list.querySelector(ROW);
  if (key === "End") return [...list.querySelectorAll(".group")].at(-1)?.querySelector(`${ROW}:last-child`);
  const [sibling, edge] = { ArrowDown: ["nextElementSibling", "firstElementChild"], ArrowUp: ["previousElementSibling", "lastElementChild"] }[key] ?? [];
  if (!sibling) return null;
  let next = row[sibling];
  for (let group = row.closest(".group")[sibling]; !next && group; group = group[sibling]) next = group.querySelector("ul")?.[edge];
  // One that is being renamed is passed over.
  return next && !next.matches(ROW) ? neighbour(list, next, key) : next;
}

// Make a row the one that Tab stops at.
function setStop(list, row = list.querySelector(".conversation-item.is-current") ?? list.querySelector(ROW)) {
  if (stop !== row && stop) setStops(stop, false);
  stop = row;
  if (row) setStops(row, true);
}

// Rows that are new are out of the order of Tab.
function leaveOut(list) {
  for (const row of list.querySelectorAll(".conversation-item:not([data-stop])")) setStops(row, false);
  if (stop && !stop.isConnected) stop = null;
}

function setStops(row, isStop) {
  row.dataset.stop = isStop ? "yes" : "no";
  for (const each of row.querySelectorAll(":scope > :is(a, button)")) each.tabIndex = isStop ? 0 : -1;
}

// The menu of a row is loaded on first use. Without JavaScript, its button leads to a page.
function startOptions(list, onFailure) {
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".options-button");
    if (!button) return;
    event.preventDefault();
    import("./options.js").then(({ toggleOptions }) => toggleOptions(button.closest(".conversation-item")), onFailure);
  });
}

// A row that is dragged is offered the projects.
function startDragging(list, onFailure) {
  list.addEventListener("dragstart", ({ target, dataTransfer }) => {
    const row = target.closest?.(".conversation-item");
    if (!row) return;
    dataTransfer.effectAllowed = "copyMove";
    // A list that is replaced meanwhile would end the drag.
    row.classList.add("is-dragged");
    row.addEventListener("dragend", () => row.classList.remove("is-dragged"), { once: true });
    import("./move.js").then(({ offerProjects }) => offerProjects(row.dataset.conversation, row, refreshSidebar), onFailure);
  });
  // The list of projects has changed, perhaps from or to none.
  document.body.addEventListener("htmx:afterSwap", ({ detail }) => {
    const box = detail.target.closest?.("#projects");
    if (box) box.hidden = !box.querySelector("li");
  });
}

// -- the drawer -----------------------------------------------------------------------------------

// Whether the list is a drawer over the page, as on phones.
export function isDrawer() {
  return NARROW.matches;
}

function startDrawer() {
  const opener = document.querySelector(".drawer-open");
  opener.setAttribute("role", "button");
  opener.setAttribute("aria-controls", "sidebar");
  sayIsOpen();
  opener.addEventListener("click", (event) => {
    event.preventDefault();
    if (NARROW.matches) openSidebar();
    else setWide(!document.body.classList.contains("is-wide"));
  });
  opener.addEventListener("keydown", (event) => {
    if (event.key === " ") event.preventDefault(), opener.click();
  });
  for (const link of document.querySelectorAll(".drawer-close, .scrim")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      closeSidebar();
    });
  }
  document.getElementById("sidebar").addEventListener("keydown", (event) => {
    if (event.key === "Escape" && closeSidebar()) event.stopPropagation();
  });
  NARROW.addEventListener("change", () => closeSidebar() || sayIsOpen());
}

function sayIsOpen() {
  const isOpen = NARROW.matches ? document.body.classList.contains("is-drawer-open") : !document.body.classList.contains("is-wide");
  document.querySelector(".drawer-open").setAttribute("aria-expanded", String(isOpen));
}

// Stored in a cookie, so that the server renders the next page the same way.
function setWide(isWide) {
  document.body.classList.toggle("is-wide", isWide);
  sayIsOpen();
  setCookie("sidebar", isWide ? "closed" : "open");
}

export function openSidebar() {
  if (!NARROW.matches) return setWide(false);
  document.body.classList.add("is-drawer-open");
  document.querySelector(".main").inert = true;
  sayIsOpen();
  document.querySelector(".drawer-close").focus();
}

export function closeSidebar() {
  if (!document.body.classList.contains("is-drawer-open")) return false;
  document.body.classList.remove("is-drawer-open");
  document.querySelector(".main").inert = false;
  sayIsOpen();
  document.querySelector(".drawer-open").focus();
  return true;
}

// -- menus and toasts -----------------------------------------------------------------------------

function startMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target) || event.target.closest("button.menu-item, a.menu-item")) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest?.("details.menu[open]");
    if (!menu) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  }, true);
}

function startToasts() {
  const toasts = document.getElementById("toasts");
  const startTimers = () => {
    for (const toast of toasts.querySelectorAll(".toast:not([data-timed])")) {
      toast.dataset.timed = "";
      const removeIfUnused = () => (toast.matches(":hover, :focus-within") ? setTimeout(removeIfUnused, 1_000) : toast.remove());
      setTimeout(removeIfUnused, TOAST_MS);
    }
  };
  new MutationObserver(startTimers).observe(toasts, { childList: true });
  startTimers();
}
