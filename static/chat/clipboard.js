// Copying of whole messages and of code blocks.

import { request, translate } from "./config.js";

const DONE_MS = 1_500;

export async function copyMessage(button, article) {
  const visible = article.querySelector(".bubble, .prose");
  const { source } = button.dataset;
  try {
    // Copy the Markdown source, if the browser accepts a promise for it.
    if (source && navigator.clipboard?.write && window.ClipboardItem) {
      const text = request(source).then((markdown) => new Blob([markdown], { type: "text/plain" }));
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]);
    } else {
      await copy(visible.innerText);
    }
    showCopied(button);
  } catch {
    showFailed(button);
  }
}

// Add a header with language and copy button to each server-rendered code block under `root`.
export function addCodeHeads(root) {
  for (const box of root.querySelectorAll(".prose .code:not(:has(> .code-head))")) {
    const head = document.createElement("div");
    const label = document.createElement("span");
    const button = document.createElement("button");
    head.className = "code-head";
    label.textContent = box.dataset.title || box.dataset.language || translate("code");
    button.type = "button";
    button.textContent = translate("copy");
    button.dataset.action = "copy-code";
    head.append(label, button);
    box.prepend(head);
  }
}

export async function copyCode(button) {
  try {
    await copy(button.closest(".code").querySelector("pre").textContent.replace(/\n$/, ""));
    button.textContent = translate("copied");
    setTimeout(() => { button.textContent = translate("copy"); }, DONE_MS);
  } catch {
    button.textContent = translate("copyFailed");
  }
}

async function copy(text) {
  if (navigator.clipboard?.writeText) return navigator.clipboard.writeText(text);
  // Plain-http addresses have no clipboard API; the old command still works there.
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  if (!isDone) throw new Error("execCommand");
}

function showCopied(button) {
  const label = button.getAttribute("aria-label");
  button.classList.add("is-done");
  button.setAttribute("aria-label", translate("copied"));
  button.title = translate("copied");
  setTimeout(() => {
    button.classList.remove("is-done");
    button.setAttribute("aria-label", label);
    button.title = label;
  }, DONE_MS);
}

function showFailed(button) {
  button.title = translate("copyFailed");
  button.setAttribute("aria-label", translate("copyFailed"));
}
