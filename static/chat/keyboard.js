// Keyboard shortcuts. "?" lists them.

import { config } from "./config.js";

// Keys that an input method uses, such as Escape to dismiss its candidates, reach no handler of the page. Safari
// reports the last one after the composition has ended, with nothing but the key code 229.
addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) event.stopImmediatePropagation();
}, { capture: true });

export function startKeyboard({ composer, stop, onFailure }) {
  const keys = document.getElementById("keys");
  // Found once: a search through a long page at each key would take its time.
  const dialogs = [...document.querySelectorAll("dialog")];
  const showKeys = () => keys.open || keys.showModal();
  document.querySelector("[data-keys]").addEventListener("click", showKeys);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && !event.altKey) return command(event, showKeys, onFailure);
    if (dialogs.some(({ open }) => open)) return;
    if (event.key === "Escape") return escape(composer, stop);
    if (isTyping(event.target)) return;
    if (event.key === "/") event.preventDefault(), composer.focus();
    else if (event.key === "?") showKeys();
  });
}

function command(event, showKeys, onFailure) {
  const key = event.key.toLowerCase();
  if (key === "k" && !event.shiftKey) event.preventDefault(), togglePalette(showKeys, onFailure);
  else if (key === "o" && event.shiftKey) event.preventDefault(), location.assign(config.home);
}

// It opens at once, so that no key is lost. What fills it is loaded on first use.
function togglePalette(showKeys, onFailure) {
  const palette = document.getElementById("palette");
  if (palette.open) return palette.close();
  const field = palette.querySelector("input");
  field.value = "";
  palette.showModal();
  field.focus();
  let isEntered = false;
  const noteEnter = ({ key }) => { isEntered ||= key === "Enter"; };
  field.addEventListener("keydown", noteEnter);
  import("./palette.js")
    .then(({ fillPalette }) => fillPalette({ showKeys, isEntered }))
    .catch((error) => {
      palette.close();
      onFailure(error);
    })
    .finally(() => field.removeEventListener("keydown", noteEnter));
}

function escape(composer, stop) {
  if (composer.isEditing) composer.endEdit();
  else stop();
}

function isTyping(element) {
  return element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName);
}
