// Regenerate an answer with another model, chosen in a menu beside the button.

import { translate } from "./config.js";

// Open the menu at `button`; `onChosen(modelId)` is called for a choice.
export function chooseForAgain(button, onChosen) {
  document.querySelector(".again")?.remove();
  const menu = document.createElement("div");
  menu.className = "again menu-items";
  menu.setAttribute("role", "menu");
  menu.setAttribute("aria-label", translate("againWith"));
  for (const row of document.querySelectorAll("#models .model")) {
    const item = document.createElement("button");
    item.type = "button";
    item.className = "menu-item";
    item.setAttribute("role", "menuitem");
    item.textContent = row.querySelector(".model-name").textContent;
    item.addEventListener("click", () => {
      close(true);
      onChosen(Number(row.querySelector("input").value));
    });
    menu.append(item);
  }
  const close = (takesFocus) => {
    menu.remove();
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("click", closeOutside, true);
    if (takesFocus) button.focus({ preventScroll: true });
  };
  const closeOutside = (event) => { if (!menu.contains(event.target)) close(false); };
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) event.preventDefault(), items.at((items.indexOf(document.activeElement) + step) % items.length).focus();
    else if (event.key === "Escape") event.stopPropagation(), close(true);
    else if (event.key === "Tab") close(false);
  });
  document.addEventListener("click", closeOutside, true);
  button.setAttribute("aria-expanded", "true");
  button.closest(".actions").append(menu);
  menu.firstElementChild?.focus({ preventScroll: true });
}
