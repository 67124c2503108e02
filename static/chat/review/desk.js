// The review desk: forms of the panel without a reload, keyboard, live update. All of it also works by links
// and forms alone.

import { startKeys } from "./keys.js";
import { follow } from "./live.js";
import { neighbour } from "./list.js";

const desk = document.querySelector(".desk");
const announcement = document.getElementById("announce");

function say(text) {
  announcement.textContent = text;
}

// Say one of the sentences that the page brings in the user's language.
function announce(name) {
  say(announcement.dataset[name]);
}

// Replace elements of the page by those with the same id in an answer of the server.
function replace(html) {
  const found = new DOMParser().parseFromString(html, "text/html");
  const focused = document.activeElement?.closest("form")?.dataset.key;
  for (const element of [...found.body.children]) document.getElementById(element.id)?.replaceWith(element);
  if (focused && document.activeElement === document.body) document.querySelector(`form[data-key="${focused}"] button`)?.focus();
}

async function load(address, options = {}) {
  const headers = { "X-Requested-With": "fetch", ...options.headers };
  const response = await fetch(address, { credentials: "same-origin", ...options, headers });
  if (response.redirected || !(response.ok || response.status === 422)) throw new Error(String(response.status));
  replace(await response.text());
  return response.ok;
}

function target() {
  return desk.querySelector(".panel")?.dataset.target ?? "";
}

// Show the panel of a message, or of the conversation (an empty id).
async function judge(message) {
  if (!desk.querySelector(".panel") || target() === message) return;
  await load(`${desk.dataset.panel}?message=${message}`);
}

async function submit(form, submitter) {
  const body = new FormData(form, submitter);
  form.setAttribute("aria-busy", "true");
  try {
    // Not `form.action`, which is its field of that name.
    return await load(form.getAttribute("action"), { method: "POST", body });
  } catch {
    // Signed out, or the network is gone: the plain form says what happened.
    form.dataset.plain = "";
    form.requestSubmit(submitter);
    return false;
  }
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-panel-form]") || "plain" in form.dataset) return;
  event.preventDefault();
  await submit(form, event.submitter);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-judge]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  judge(link.dataset.judge);
  if (link.dataset.judge) document.getElementById(`m${link.dataset.judge}`)?.focus({ preventScroll: true });
});

document.addEventListener("keydown", (event) => {
  const isNote = event.target.matches?.("[data-key=note] textarea");
  if (isNote && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    event.target.form.requestSubmit();
  }
});

// Selected text is what the redaction page is asked to remove. The click that opens the menu ends the selection.
const messages = document.getElementById("messages");
let selected = "";
document.addEventListener("selectionchange", () => {
  const selection = getSelection();
  if (!selection.isCollapsed && messages.contains(selection.anchorNode)) selected = String(selection).trim();
});
messages.addEventListener("pointerdown", () => { selected = ""; });
document.querySelector("a[data-redact]")?.addEventListener("click", () => {
  if (selected) sessionStorage.setItem("redact", selected);
  else sessionStorage.removeItem("redact");
});

async function go(step) {
  const address = await neighbour(desk.dataset.conversation, step);
  if (address) location.assign(address);
  else announce(step > 0 ? "last" : "first");
}

async function startSteps() {
  for (const button of document.querySelectorAll("button[data-step]")) {
    const step = Number(button.dataset.step);
    button.hidden = !(await neighbour(desk.dataset.conversation, step));
    button.addEventListener("click", () => go(step));
  }
}

startSteps();
startKeys({ announce, go, judge, say, submit, target });
follow(messages);
