// What htmx does not do for the list of conversations: its drawer, menus, place and toasts.

import { config, current } from "./config.js";
import { setCookie } from "./preferences.js";

const ROWS_A_PAGE = 40;
const REFRESH_AFTER_MS = 150;
const TOAST_MS = 10_000;
const NARROW = matchMedia("(max-width: 899px)");

let refreshTimer = 0;
// Where the keyboard was in a list that is about to be replaced.
let focusedBefore = "";

export function startSidebar() {
  const list = document.getElementById("conversations");
  keepPlace(list);
  startDrawer();
  startMenus();
  startToasts();
  document.body.addEventListener("htmx:configRequest", (event) => tellWhatIsShown(event, list));
  document.body.addEventListener("htmx:beforeRequest", (event) => spareOpenThings(event, list));
  document.body.addEventListener("htmx:beforeSwap", (event) => spareOpenThings(event, list));
  document.body.addEventListener("htmx:beforeSwap", (event) => noteFocus(event, list));
  document.body.addEventListener("htmx:afterSettle", (event) => settled(event));
}

// Several notices in a row are one refresh.
export function refreshSidebar() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(() => window.htmx?.trigger(document.body, "conversations-changed"), REFRESH_AFTER_MS);
}

export function focusSearch() {
  if (NARROW.matches || document.body.classList.contains("is-wide")) openSidebar();
  const search = document.getElementById("search");
  search.focus();
  search.select();
}

// -- the list -------------------------------------------------------------------------------------

function tellWhatIsShown({ detail }, list) {
  if (!detail.path.startsWith(`${config.home}sidebar/`) || detail.path.includes("page=")) return;
  detail.parameters.current = current.id;
  if (detail.elt === list) {
    detail.parameters.through = Math.max(1, Math.ceil(list.querySelectorAll(".conversation-item").length / ROWS_A_PAGE));
  }
}

// A refresh would take an open menu or a half-typed name away; it comes when that is done.
function spareOpenThings(event, list) {
  if ((event.detail.requestConfig?.elt ?? event.detail.elt) !== list || !list.querySelector("details[open], .rename")) return;
  event.preventDefault();
  setTimeout(refreshSidebar, 2_000);
}

function noteFocus({ detail }, list) {
  if (detail.target !== list) return;
  const { activeElement } = document;
  const row = list.contains(activeElement) && activeElement.closest(".conversation-item");
  focusedBefore = row ? `[data-conversation="${row.dataset.conversation}"] ${activeElement.localName}` : "";
}

function settled({ detail }) {
  const { target } = detail;
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
  document.title = document.title.replace(/^.* · /s, `${title} · `);
  shown.textContent = title;
}

function keepPlace(list) {
  const key = "chatsite.sidebar";
  try {
    list.scrollTop = Number(sessionStorage.getItem(key));
    addEventListener("pagehide", () => sessionStorage.setItem(key, list.scrollTop));
  } catch { /* it then begins at its top */ }
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !event.target.closest(".rename")) return;
    event.stopPropagation();
    event.target.closest(".rename").remove();
    refreshSidebar();
  });
  list.addEventListener("focusout", (event) => {
    const form = event.target.closest(".rename");
    if (!form || form.contains(event.relatedTarget) || form.classList.contains("htmx-request")) return;
    // Leaving the field keeps what was typed, as in every list of files.
    if (event.target.value !== event.target.defaultValue) form.requestSubmit();
    else form.remove(), refreshSidebar();
  });
}

// -- the drawer -----------------------------------------------------------------------------------

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

// Kept in a cookie, so that the server draws the next page so from the start.
function setWide(isWide) {
  document.body.classList.toggle("is-wide", isWide);
  setCookie("sidebar", isWide ? "closed" : "open");
}

function openSidebar() {
  if (!NARROW.matches) return setWide(false);
  document.body.classList.add("is-drawer-open");
  document.querySelector(".main").inert = true;
  document.querySelector(".drawer-close").focus();
}

function closeSidebar() {
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
  const wait = () => {
    for (const toast of toasts.querySelectorAll(".toast:not([data-timed])")) {
      toast.dataset.timed = "";
      const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 1_000) : toast.remove());
      setTimeout(leave, TOAST_MS);
    }
  };
  new MutationObserver(wait).observe(toasts, { childList: true });
  wait();
}
