// The menu of a conversation in the list. There is one for all of them, filled when it is opened.

const MARGIN_PX = 8;
// The template has the addresses of this conversation, which does not exist.
const PLACEHOLDER_ID = "00000000-0000-0000-0000-000000000000";

const menu = document.getElementById("options");
const list = document.getElementById("conversations");
let opener = null;
let isPressedToClose = false;

// Open the menu of a row, or leave it closed if the press of its button has just closed it.
export function toggleOptions(row) {
  if (!isPressedToClose) openOptions(row);
  isPressedToClose = false;
}

export function openOptions(row) {
  menu.hidePopover();
  opener = row.querySelector(".options-button");
  fill(row);
  // Where the focus returns to.
  opener.focus({ preventScroll: true });
  menu.showPopover();
  place();
  items()[0].focus({ preventScroll: true });
}

function fill({ dataset }) {
  const content = document.getElementById("options-template").content.cloneNode(true);
  for (const element of content.querySelectorAll("*")) {
    for (const attribute of element.attributes) attribute.value = attribute.value.replaceAll(PLACEHOLDER_ID, dataset.conversation);
  }
  for (const [name, undo, state] of [["pin", "unpin", "pinned"], ["archive", "unarchive", "archived"]]) {
    content.querySelector(`[value=${name}]`).hidden = state in dataset;
    content.querySelector(`[value=${undo}]`).hidden = !(state in dataset);
  }
  menu.replaceChildren(content);
  menu.setAttribute("aria-label", opener.ariaLabel);
  window.htmx?.process(menu);
}

// Below the button, or above it where there is more room; its far edge is the button's.
function place() {
  const { top, bottom, left, right } = opener.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const isAbove = bottom + height > innerHeight - MARGIN_PX && top - height >= MARGIN_PX;
  const start = getComputedStyle(opener).direction === "rtl" ? left : right - width;
  menu.style.top = `${isAbove ? top - height : Math.max(MARGIN_PX, Math.min(bottom, innerHeight - height - MARGIN_PX))}px`;
  menu.style.left = `${Math.max(MARGIN_PX, Math.min(start, innerWidth - width - MARGIN_PX))}px`;
}

function items() {
  return [...menu.querySelectorAll(".menu-item:not([hidden])")];
}

menu.addEventListener("keydown", (event) => {
  const all = items();
  const index = all.indexOf(document.activeElement);
  const next = { ArrowDown: (index + 1) % all.length, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
  if (next !== undefined) event.preventDefault(), all.at(next).focus();
  // Tab goes on from the button.
  else if (event.key === "Tab") menu.hidePopover(), opener.focus({ preventScroll: true });
  // Closes the menu, and nothing else on the page.
  else if (event.key === "Escape") event.preventDefault(), event.stopPropagation(), menu.hidePopover();
});
// After the form is sent: htmx forgets the pressed button when the focus leaves it.
menu.addEventListener("click", ({ target }) => target.closest(".menu-item") && setTimeout(() => menu.hidePopover()));
menu.addEventListener("beforetoggle", ({ newState }) => opener.setAttribute("aria-expanded", String(newState === "open")));
// A press beside the menu closes it before the button gets its click.
addEventListener("pointerdown", ({ target }) => {
  isPressedToClose = menu.matches(":popover-open") && opener.contains(target);
}, { capture: true });
list.addEventListener("scroll", () => menu.hidePopover(), { passive: true });
addEventListener("resize", () => menu.hidePopover());
