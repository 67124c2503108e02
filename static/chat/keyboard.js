// Keyboard shortcuts. "?" lists them.

import { config } from "./config.js";

// Keys that an input method uses, such as Escape to dismiss its candidates, reach no handler of the page. Safari
// reports the last one after the composition has ended, with nothing but the key code 229.
addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) event.stopImmediatePropagation();
}, { capture: true });

export function startKeyboard({ composer, stop, onFailure }) {
  const keys = document.getElementById("keys");
  const showKeys = () => keys.open || keys.showModal();
  document.querySelector("[data-keys]").addEventListener("click", showKeys);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && !event.altKey) return command(event, showKeys, onFailure);
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return escape(composer, stop);
    if (isTyping(event.target)) return;
    if (event.key === "/") event.preventDefault(), composer.focus();
    else if (event.key === "?") showKeys();
  });
}

function command(event, showKeys, onFailure) {
  const key = event.key.toLowerCase();
  if (key === "k" && !event.shiftKey) event.preventDefault(), import("./palette.js").then(({ openPalette }) => openPalette({ showKeys })).catch(onFailure);
  else if (key === "o" && event.shiftKey) event.preventDefault(), location.assign(config.home);
}

function escape(composer, stop) {
  if (composer.isEditing) composer.endEdit();
  else stop();
}

function isTyping(element) {
  return element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName);
}
