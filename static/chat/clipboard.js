// Copying of whole messages, of code and of selections with formulas.

import { request, requestNow, translate } from "./config.js";

const DONE_MS = 1_500;

// Copy the Markdown of an answer, or the text of a question.
export async function copyMessage(button, article) {
  const { source } = button.dataset;
  try {
    if (source && navigator.clipboard?.write && window.ClipboardItem) {
      const text = request(source).then((markdown) => new Blob([markdown], { type: "text/plain" }));
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]);
    } else {
      await copy(source ? requestNow(source) : article.querySelector(".bubble").textContent);
    }
    showCopied(button);
  } catch {
    showFailed(button);
  }
}

// A selection with drawn formulas is copied as they were written.
export function copyFormulas(event) {
  const selection = getSelection();
  if (selection.isCollapsed) return;
  const copied = document.createElement("div");
  for (let n = 0; n < selection.rangeCount; n += 1) copied.append(selection.getRangeAt(n).cloneContents());
  const formulas = copied.querySelectorAll("[data-tex]");
  if (!formulas.length) return;
  for (const formula of formulas) formula.textContent = formula.dataset.tex;
  // Only what is on the page has line breaks between its blocks in `innerText`.
  copied.className = "offscreen";
  document.body.append(copied);
  event.clipboardData.setData("text/plain", copied.innerText);
  copied.remove();
  event.preventDefault();
}

export function codeOf(button) {
  return button.closest(".code").querySelector("pre").textContent.replace(/\n$/, "");
}

export async function copyText(button, text) {
  try {
    await copy(text);
    showCopied(button);
  } catch {
    showFailed(button);
  }
}

async function copy(text) {
  if (navigator.clipboard?.writeText) return navigator.clipboard.writeText(text);
  // Plain-http addresses have no clipboard API; the old command still works there.
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.readOnly = true; // no keyboard on touch screens
  field.className = "visually-hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  focused?.focus({ preventScroll: true });
  if (!isDone) throw new Error("execCommand");
}

function showCopied(button) {
  button.classList.remove("is-failed");
  button.classList.add("is-done");
  name(button, "copied");
  setTimeout(() => {
    button.classList.remove("is-done");
    name(button, button.dataset.name ?? "copy");
  }, DONE_MS);
}

function showFailed(button) {
  button.classList.add("is-failed");
  name(button, "copyFailed");
}

function name(button, message) {
  button.setAttribute("aria-label", translate(message));
  button.title = translate(message);
}
