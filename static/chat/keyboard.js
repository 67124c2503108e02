// Keyboard shortcuts. "?" lists them.

import { config } from "./config.js";
import { focusSearch } from "./sidebar.js";

export function startKeyboard({ composer, stop }) {
  const keys = document.getElementById("keys");
  const showKeys = () => keys.open || keys.showModal();
  document.querySelector("[data-keys]").addEventListener("click", showKeys);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && !event.altKey) return command(event);
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return escape(composer, stop);
    if (isTyping(event.target)) return;
    if (event.key === "/") event.preventDefault(), composer.focus();
    else if (event.key === "?") showKeys();
  });
}

function command(event) {
  const key = event.key.toLowerCase();
  if (key === "k" && !event.shiftKey) event.preventDefault(), focusSearch();
  else if (key === "o" && event.shiftKey) event.preventDefault(), location.assign(config.home);
}

function escape(composer, stop) {
  if (composer.isEditing) composer.endEdit();
  else stop();
}

function isTyping(element) {
  return element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName);
}
