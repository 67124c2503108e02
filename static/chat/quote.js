// A button at a selection in an answer, which quotes it in the composer.

import { translate } from "./config.js";

const button = document.createElement("button");
button.type = "button";
button.className = "button quote";
button.textContent = translate("quote");
button.hidden = true;

// `onQuote(text)` is called with the quoted lines.
export function startQuoting(transcript, onQuote) {
  const scroller = transcript.closest(".scroller");
  scroller.append(button);
  button.addEventListener("mousedown", (event) => event.preventDefault());
  button.addEventListener("click", () => {
    const text = getSelection().toString().trim();
    button.hidden = true;
    getSelection().removeAllRanges();
    if (text) onQuote(text.split(/\n+/).map((line) => `> ${line}`).join("\n"));
  });
  const place = () => {
    const selection = getSelection();
    const range = selection.rangeCount && !selection.isCollapsed && selection.getRangeAt(0);
    const prose = range && elementOf(range.startContainer).closest("chat-transcript .prose:not(.streaming)");
    button.hidden = !prose || !selection.toString().trim();
    if (button.hidden) return;
    const spot = range.getBoundingClientRect();
    const frame = scroller.getBoundingClientRect();
    button.style.insetBlockStart = `${Math.max(0, spot.top - frame.top + scroller.scrollTop - 44)}px`;
    button.style.insetInlineStart = `${Math.max(8, spot.left - frame.left)}px`;
  };
  document.addEventListener("selectionchange", place);
  place();
}

function elementOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
}
