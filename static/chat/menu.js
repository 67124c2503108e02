// A menu that opens at a message: the models to regenerate with, or what a long press offers.

let closeOpen = null;

// Open a menu of `items`, each with a `label` and what it does (`act`), in `place`. The focus returns to `opener`.
export function openMenu({ place, label, items, opener }) {
  closeOpen?.(false);
  const menu = document.createElement("div");
  menu.className = "opened menu-items";
  menu.setAttribute("role", "menu");
  menu.setAttribute("aria-label", label);
  for (const { label: name, act } of items) menu.append(itemOf(name, () => { close(true); act(); }));
  const close = (takesFocus) => {
    closeOpen = null;
    menu.remove();
    if (opener.ariaHasPopup) opener.setAttribute("aria-expanded", "false");
    document.removeEventListener("click", closeOutside, true);
    if (takesFocus) opener.focus({ preventScroll: true });
  };
  const closeOutside = (event) => { if (!menu.contains(event.target)) close(false); };
  menu.addEventListener("keydown", (event) => {
    const all = [...menu.children];
    const index = all.indexOf(document.activeElement);
    const next = { ArrowDown: (index + 1) % all.length, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
    if (next !== undefined) event.preventDefault(), all.at(next).focus();
    else if (event.key === "Escape") event.stopPropagation(), close(true);
    else if (event.key === "Tab") close(false);
  });
  document.addEventListener("click", closeOutside, true);
  if (opener.ariaHasPopup) opener.setAttribute("aria-expanded", "true");
  place.append(menu);
  menu.firstElementChild?.focus({ preventScroll: true });
  menu.scrollIntoView({ block: "nearest" });
  closeOpen = close;
}

function itemOf(name, act) {
  const item = document.createElement("button");
  item.type = "button";
  item.className = "menu-item";
  item.setAttribute("role", "menuitem");
  item.textContent = name;
  item.addEventListener("click", act);
  return item;
}
