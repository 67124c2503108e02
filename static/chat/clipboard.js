// Copying of whole messages and of code blocks.

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

// Add a header with language and copy button to each server-rendered code block under `root`. Its labels are drawn by
// the style sheet (::before): they are no text that a selection could contain.
export function addCodeHeads(root) {
  for (const box of root.querySelectorAll(".prose .code:not(:has(> .code-head))")) {
    const head = document.createElement("div");
    const label = document.createElement("span");
    const button = document.createElement("button");
    head.className = "code-head";
    label.dataset.label = box.dataset.title || box.dataset.language || translate("code");
    button.type = "button";
    name(button, "copy");
    button.dataset.action = "copy-code";
    head.append(label, button);
    box.prepend(head);
  }
}

export async function copyCode(button) {
  try {
    await copy(button.closest(".code").querySelector("pre").textContent.replace(/\n$/, ""));
    name(button, "copied");
    setTimeout(() => name(button, "copy"), DONE_MS);
  } catch {
    name(button, "copyFailed");
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
    name(button, "copy");
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
