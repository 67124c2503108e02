// Prompts of the library at the composer: "/" offers them, Tab leads through the {{variables}} of one.

import { config, request, translate } from "./config.js";

const VARIABLE = /\{\{[^{}\n]{1,60}\}\}/;
const SHOWN_MAX = 8;

const box = document.createElement("div");
const field = document.getElementById("text");
let composer = null;
let prompts = null;
let shown = [];
let active = 0;

export async function offerPrompts(owner) {
  if (!composer) start(owner);
  prompts ??= JSON.parse(await request(`${config.home}library/prompts.json`));
  update();
}

function start(owner) {
  composer = owner;
  box.id = "slash";
  box.className = "slash menu-items";
  box.setAttribute("role", "listbox");
  box.hidden = true;
  field.closest(".box").append(box);
  field.addEventListener("input", update);
  // Before the composer, which would send the text.
  field.addEventListener("keydown", pressed, { capture: true });
  field.addEventListener("blur", () => setTimeout(close, 200));
  box.addEventListener("mousedown", (event) => event.preventDefault());
  box.addEventListener("click", (event) => choose([...box.children].indexOf(event.target.closest("[role=option]"))));
}

function update() {
  const asked = /^\/([^\s/]*)$/.exec(field.value)?.[1].toLowerCase();
  shown = asked === undefined || !prompts ? [] : prompts.filter(({ name }) => name.toLowerCase().includes(asked)).slice(0, SHOWN_MAX);
  // Without any prompts, a slash leads to the page that makes one.
  if (asked === "" && prompts?.length === 0) shown = [{ name: translate("newPrompt"), text: "", href: `${config.home}library/prompts/new/` }];
  box.replaceChildren(...shown.map(({ name, text }, index) => {
    const row = document.createElement("div");
    row.id = `slash-${index}`;
    row.className = "menu-item";
    row.setAttribute("role", "option");
    const small = document.createElement("small");
    small.textContent = text;
    row.append(name, small);
    return row;
  }));
  box.hidden = shown.length === 0;
  mark(0);
}

function mark(index) {
  active = index;
  [...box.children].forEach((row, number) => row.setAttribute("aria-selected", String(number === active)));
  if (shown.length) field.setAttribute("aria-activedescendant", `slash-${active}`);
  else field.removeAttribute("aria-activedescendant");
}

function close() {
  box.hidden = true;
  shown = [];
  field.removeAttribute("aria-activedescendant");
}

function pressed(event) {
  if (box.hidden) return void (event.key === "Tab" && !event.shiftKey && selectVariable() && event.preventDefault());
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) mark((active + step + shown.length) % shown.length);
  else if (event.key === "Enter" || (event.key === "Tab" && !shown[active]?.href)) choose(active);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function choose(index) {
  const prompt = shown[index];
  if (!prompt) return;
  if (prompt.href) {
    composer.fill(""); // the slash is no draft
    return void location.assign(prompt.href);
  }
  close();
  composer.fill(prompt.text);
  field.setSelectionRange(0, 0);
  if (!selectVariable()) field.setSelectionRange(prompt.text.length, prompt.text.length);
}

// Select the next variable after the cursor. Return whether there is any: after the last one, Tab leaves the field.
function selectVariable() {
  const found = VARIABLE.exec(field.value.slice(field.selectionEnd));
  if (!found) return false;
  const from = field.selectionEnd + found.index;
  field.setSelectionRange(from, from + found[0].length);
  return true;
}
