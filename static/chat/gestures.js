// What fingers do: a swipe opens and closes the list of conversations, a long press opens a menu.

import { translate } from "./config.js";
import { openMenu } from "./menu.js";
import { openOptions } from "./options.js";
import { closeSidebar, isDrawer, openSidebar } from "./sidebar.js";

// The very edge belongs to the system's way back.
const EDGE_FROM_PX = 20;
const EDGE_TO_PX = 120;
// A shorter movement is a tap.
const SLOP_PX = 10;
const LONG_PRESS_MS = 500;
// A swipe counts beyond this share of the way, or if it is quick.
const FAR = 0.4;
const QUICK_PX_PER_MS = 0.4;

const REDUCED = matchMedia("(prefers-reduced-motion: reduce)");
const sidebar = document.getElementById("sidebar");

export function startGestures() {
  addEventListener("touchstart", startSwipe, { passive: true });
  addEventListener("touchstart", startPress, { passive: true });
  document.body.classList.add("has-gestures");
}

// -- swipes ---------------------------------------------------------------------------------------

// In the direction in which the list opens.
function inward(x) {
  return document.dir === "rtl" ? innerWidth - x : x;
}

function startSwipe({ touches, target }) {
  if (touches.length !== 1 || !isDrawer() || document.querySelector("dialog[open]") || !getSelection().isCollapsed) return;
  const isOpen = document.body.classList.contains("is-drawer-open");
  const { clientX, clientY, identifier } = touches[0];
  const x = inward(clientX);
  const canStart = isOpen || (x >= EDGE_FROM_PX && x <= EDGE_TO_PX);
  if (!canStart || scrollsSideways(target) || target.closest("input, textarea, .menu[open], #options")) return;
  follow({ x, y: clientY, at: performance.now(), identifier, isOpen });
}

// Code and tables scroll in their own boxes.
function scrollsSideways(element) {
  for (let box = element; box instanceof Element && box !== document.body; box = box.parentElement) {
    if (box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX)) return true;
  }
  return false;
}

function follow(start) {
  const width = sidebar.offsetWidth;
  let isMoving = false;
  let moved = 0;
  const stop = () => {
    removeEventListener("touchmove", move);
    removeEventListener("touchend", end);
    removeEventListener("touchcancel", cancel);
    document.body.classList.remove("is-drawer-dragged");
    sidebar.style.translate = "";
  };
  const move = ({ touches }) => {
    if (touches.length !== 1) return stop();
    const [dx, dy] = [inward(touches[0].clientX) - start.x, touches[0].clientY - start.y];
    if (!isMoving) {
      if (Math.hypot(dx, dy) < SLOP_PX) return;
      if (Math.abs(dx) < 1.5 * Math.abs(dy) || dx > 0 === start.isOpen) return stop();
      isMoving = true;
    }
    moved = dx;
    if (REDUCED.matches) return;
    document.body.classList.add("is-drawer-dragged");
    const hidden = Math.min(width, Math.max(0, start.isOpen ? -dx : width - dx));
    sidebar.style.translate = `${document.dir === "rtl" ? hidden : -hidden}px`;
  };
  const end = () => {
    stop();
    const way = start.isOpen ? -moved : moved;
    if (!isMoving || (way < FAR * width && way / (performance.now() - start.at) < QUICK_PX_PER_MS)) return;
    if (start.isOpen) closeSidebar();
    else openSidebar();
  };
  const cancel = () => stop();
  addEventListener("touchmove", move, { passive: true });
  addEventListener("touchend", end);
  addEventListener("touchcancel", cancel);
}

// -- long presses ---------------------------------------------------------------------------------

// Of conversations and questions. In an answer, a long press selects text, which can be quoted; its actions are in view.
const PRESSED = ".conversation-item > a, .question[data-message] .bubble:not(.is-selectable)";

function startPress({ touches, target }) {
  const pressed = touches.length === 1 && target.closest?.(PRESSED);
  if (!pressed) return;
  const { clientX, clientY } = touches[0];
  const timer = setTimeout(open, LONG_PRESS_MS);
  let isOpened = false;
  // Some browsers show a menu of their own after a while, and some follow the link at the end.
  const suppress = (event) => {
    event.preventDefault();
    event.stopPropagation();
  };
  function open() {
    isOpened = true;
    addEventListener("click", suppress, { capture: true });
    navigator.vibrate?.(10);
    if (pressed.matches(".bubble")) openQuestionMenu(pressed.closest("article"));
    else openOptions(pressed.closest(".conversation-item"));
  }
  const move = (event) => {
    const { clientX: x, clientY: y } = event.touches[0];
    if (Math.hypot(x - clientX, y - clientY) >= SLOP_PX) stop();
  };
  const stop = () => {
    clearTimeout(timer);
    removeEventListener("touchmove", move);
    removeEventListener("touchend", stop);
    removeEventListener("touchcancel", stop);
    removeEventListener("scroll", stop, true);
    // The click comes soon after the end of the touch, if at all.
    setTimeout(release, isOpened ? 100 : 0);
    addEventListener("touchstart", release, { once: true, passive: true });
  };
  const release = () => {
    removeEventListener("click", suppress, { capture: true });
    removeEventListener("contextmenu", suppress, { capture: true });
  };
  addEventListener("contextmenu", suppress, { capture: true });
  addEventListener("touchmove", move, { passive: true });
  addEventListener("touchend", stop);
  addEventListener("touchcancel", stop);
  addEventListener("scroll", stop, { capture: true, passive: true });
}

function openQuestionMenu(article) {
  const actions = [...article.querySelectorAll(".actions .action")].filter((action) => action.checkVisibility());
  const items = actions.map((action) => ({ label: action.ariaLabel, act: () => action.click() }));
  items.push({ label: translate("selectText"), act: () => select(article.querySelector(".bubble")) });
  openMenu({ place: article.querySelector(".actions"), label: translate("messageMenu"), items, opener: article });
}

// From now on, a long press on it selects, too.
function select(bubble) {
  bubble.classList.add("is-selectable");
  getSelection().selectAllChildren(bubble);
}
