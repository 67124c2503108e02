// The parts of the sidebar that htmx does not handle: drawer, menus, scroll position, focus and toasts.

import { config, current } from "./config.js";
import { setCookie } from "./preferences.js";

const REFRESH_AFTER_MS = 150;
const TOAST_MS = 10_000;
const NARROW = matchMedia("(max-width: 899px)");

let refreshTimer = 0;
// Selector of the element that had the focus before the list was replaced.
let focusedBefore = "";

// `onFailure(error)` is called if a part that is loaded on first use does not come.
export function startSidebar(onFailure) {
  const list = document.getElementById("conversations");
  keepScrollPosition(list);
  startKeys(list);
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
  if ((event.detail.requestConfig?.elt ?? event.detail.elt) !== list || !list.querySelector("details[open], .rename, .is-dragged")) return;
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
  setStop(document.getElementById("conversations"), document.activeElement.closest?.(".conversation-item") ?? undefined);
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
    if (!row || event.target.closest(".rename, .menu-items")) return;
    if (event.key === "m" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      row.querySelector("[data-move]").click();
      return;
    }
    const rows = rowsOf(list);
    const index = rows.indexOf(row);
    const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined || !rows[next]) return;
    event.preventDefault();
    setStop(list, rows[next]);
    rows[next].querySelector("a").focus();
  });
  list.addEventListener("focusin", ({ target }) => {
    const row = target.closest(".conversation-item");
    if (row) setStop(list, row);
  });
  setStop(list);
}

function rowsOf(list) {
  return [...list.querySelectorAll(".conversation-item:has(> a)")];
}

function setStop(list, stop = list.querySelector(".conversation-item:has(> [aria-current])") ?? rowsOf(list)[0]) {
  for (const row of rowsOf(list)) {
    for (const each of row.querySelectorAll(":scope > a, summary")) each.tabIndex = row === stop ? 0 : -1;
  }
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
  document.querySelector(".drawer-open").addEventListener("click", (event) => {
    event.preventDefault();
    if (NARROW.matches) openSidebar();
    else setWide(!document.body.classList.contains("is-wide"));
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
  NARROW.addEventListener("change", closeSidebar);
}

// Stored in a cookie, so that the server renders the next page the same way.
function setWide(isWide) {
  document.body.classList.toggle("is-wide", isWide);
  setCookie("sidebar", isWide ? "closed" : "open");
}

export function openSidebar() {
  if (!NARROW.matches) return setWide(false);
  document.body.classList.add("is-drawer-open");
  document.querySelector(".main").inert = true;
  document.querySelector(".drawer-close").focus();
}

export function closeSidebar() {
  if (!document.body.classList.contains("is-drawer-open")) return false;
  document.body.classList.remove("is-drawer-open");
  document.querySelector(".main").inert = false;
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
