// Settings and details: dialogs here, pages of their own without JavaScript.

import { current, fragmentOf, request, url } from "./config.js";
import { chooseModel, chosenModel } from "./models.js";

const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");

export function startDialogs() {
  document.addEventListener("click", (event) => {
    const question = event.target.closest(".outline a");
    const shown = question && document.getElementById(`m${question.dataset.messageId}`);
    if (shown) {
      event.preventDefault();
      dialog.close();
      shown.scrollIntoView({ block: "start" });
      return shown.focus({ preventScroll: true });
    }
    const link = event.target.closest("a[data-dialog]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && window.htmx) {
      event.preventDefault();
      openDialog(link.getAttribute("href"), { isAtSide: link.dataset.dialog === "side" });
    } else if (event.target.closest("[data-close]") && dialog.open) {
      event.preventDefault();
      dialog.close();
    } else if (event.target === dialog) {
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => body.replaceChildren());
  document.body.addEventListener("dialog-done", () => {
    const chosen = body.querySelector("[name=model]")?.value;
    if (chosen !== undefined) chooseModel(chosen);
    dialog.close();
  });
}

// Show the fragment at an address of our own.
export async function openDialog(address, { isAtSide = false } = {}) {
  await window.htmx.ajax("GET", address, { target: body, swap: "innerHTML" });
  showLocalTimes(body);
  await styled(body);
  dialog.classList.toggle("is-side", isAtSide);
  if (body.childElementCount && !dialog.open) dialog.showModal(), focusFirst(body);
}

// Begin with the first field; where that would open a keyboard on the screen, or there is none, with the heading.
function focusFirst(body) {
  const field = body.querySelector("input:not([type=hidden]), select, textarea");
  const heading = body.querySelector("h2");
  if (body.querySelector("[autofocus]")) return;
  if (field && !matchMedia("(pointer: coarse)").matches) return field.focus();
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}

// Wait for the style sheets that only this content needs.
function styled(root) {
  const links = [...root.querySelectorAll("link[rel=stylesheet]")].filter((link) => !link.sheet);
  return Promise.all(links.map((link) => new Promise((done) => { link.onload = link.onerror = done; })));
}

// Update the selected model after the settings were changed elsewhere.
export async function followSettings(id) {
  if (chosenModel() === undefined) return;
  const settings = fragmentOf(await request(url.configure(id)));
  const chosen = settings.querySelector("[name=model]")?.value;
  if (id === current.id && chosen !== undefined) chooseModel(chosen);
}

// The server writes the site's time; show that of this device, with its twelve or twenty-four hours.
function showLocalTimes(root) {
  const { hourCycle } = new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions();
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium", hourCycle });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
}
