// Copying: whole messages, and each block of code.

import { request, say } from "./config.js";

const DONE_MS = 1_500;

export async function copyMessage(button, article) {
  const visible = article.querySelector(".bubble, .prose");
  const { source } = button.dataset;
  try {
    // The Markdown as the model wrote it, where the browser lets us wait for it.
    if (source && navigator.clipboard?.write && window.ClipboardItem) {
      const text = request(source).then((markdown) => new Blob([markdown], { type: "text/plain" }));
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]);
    } else {
      await copy(visible.innerText);
    }
    tellDone(button);
  } catch {
    tellFailed(button);
  }
}

// Gives each block of code under `root`, which the server drew, a head with its language and a button.
export function dressCode(root) {
  for (const box of root.querySelectorAll(".prose .code:not(:has(> .code-head))")) {
    const head = document.createElement("div");
    const label = document.createElement("span");
    const button = document.createElement("button");
    head.className = "code-head";
    label.textContent = box.dataset.language || say("code");
    button.type = "button";
    button.textContent = say("copy");
    button.dataset.action = "copy-code";
    head.append(label, button);
    box.prepend(head);
  }
}

export async function copyCode(button) {
  try {
    await copy(button.closest(".code").querySelector("pre").textContent.replace(/\n$/, ""));
    button.textContent = say("copied");
    setTimeout(() => { button.textContent = say("copy"); }, DONE_MS);
  } catch {
    button.textContent = say("copyFailed");
  }
}

async function copy(text) {
  if (navigator.clipboard?.writeText) return navigator.clipboard.writeText(text);
  // Plain-http addresses have no clipboard; the old command still works there.
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const isDone = document.execCommand("copy");
  field.remove();
  if (!isDone) throw new Error("execCommand");
}

function tellDone(button) {
  const label = button.getAttribute("aria-label");
  button.classList.add("is-done");
  button.setAttribute("aria-label", say("copied"));
  button.title = say("copied");
  setTimeout(() => {
    button.classList.remove("is-done");
    button.setAttribute("aria-label", label);
    button.title = label;
  }, DONE_MS);
}

function tellFailed(button) {
  button.title = say("copyFailed");
  button.setAttribute("aria-label", say("copyFailed"));
}
