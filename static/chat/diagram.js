// Diagrams: Mermaid draws one on a click, in a sandboxed frame that gets its source and can reach nothing else.

import { announce, config, translate } from "./config.js";

// A taller one scrolls inside its frame.
const HEIGHT_MAX_PX = 640;

// Show the diagram instead of the source, or the source again.
export function toggleDiagram(button) {
  const box = button.closest(".code");
  const known = box.querySelector(".diagram");
  if (known) setShown(box, button, known.hidden);
  else draw(box, button);
}

function setShown(box, button, isShown) {
  box.querySelector(".diagram").hidden = !isShown;
  box.querySelector("pre").hidden = isShown;
  button.setAttribute("aria-pressed", String(isShown));
}

function draw(box, button) {
  const frame = document.createElement("iframe");
  frame.className = "diagram";
  frame.title = translate("diagram");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.src = `${config.home}diagram/`;
  button.disabled = true;
  // The origin of the frame is opaque, so only the window tells who sends.
  const heard = ({ source, data }) => {
    if (source !== frame.contentWindow) return;
    if (data?.isReady) return frame.contentWindow.postMessage({ source: box.querySelector("pre").textContent, isDark: isDark() }, "*");
    removeEventListener("message", heard);
    button.disabled = false;
    if (Number.isFinite(data?.height)) return finish(box, button, frame, data.height);
    frame.remove();
    const line = document.createElement("p");
    line.className = "diagram-error";
    line.textContent = translate("diagramFailed", { reason: String(data?.error ?? "") });
    box.querySelector(".diagram-error")?.remove();
    box.append(line);
    announce(line.textContent);
  };
  addEventListener("message", heard);
  // Not hidden: a frame without layout cannot measure what it draws.
  frame.style.blockSize = "0";
  box.append(frame);
}

function finish(box, button, frame, height) {
  box.querySelector(".diagram-error")?.remove();
  frame.style.blockSize = `${Math.min(Math.max(height, 40), HEIGHT_MAX_PX)}px`;
  setShown(box, button, true);
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
