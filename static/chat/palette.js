// The command palette (Ctrl+K): conversations, models and everything that the page can do.

import { config, fragmentOf, request, translate } from "./config.js";
import { chooseModel } from "./models.js";
import { setTheme, toggleWidth } from "./preferences.js";

const SEARCH_AFTER_MS = 150;
const SHOWN_MAX = 12;
const COMMANDS_MAX = 6;

const dialog = document.getElementById("palette");
const field = dialog.querySelector("input");
const list = dialog.querySelector("[role=listbox]");
// What the words of the field are looked for in, and the conversations that the server found for them.
let commands = [];
let found = [];
let shown = [];
let active = 0;
let timer = 0;
let searches = 0;

// Show what the words that are already in the field lead to. `isEntered`: Enter was pressed after them.
export function fillPalette({ showKeys, isEntered }) {
  commands = commandsOf({ showKeys });
  found = [];
  search();
  show();
  if (isEntered) run(0);
}

function commandsOf({ showKeys }) {
  const go = (path) => () => location.assign(path);
  const links = [...document.querySelectorAll("#sidebar a.new, .user-menu a.menu-item")];
  const models = [...document.querySelectorAll("#models .model")];
  return [
    ...links.map((link) => ({ icon: "right", name: link.textContent.trim(), run: go(link.href) })),
    ...models.map((row) => ({
      icon: "tick",
      name: translate("useModel", { model: row.querySelector(".model-name").textContent }),
      run: () => chooseModel(row.querySelector("input").value),
    })),
    ...["system", "light", "dark"].map((theme) => ({ icon: "settings", name: translate(`${theme}Theme`), run: () => setTheme(theme) })),
    { icon: "wrap", name: translate("toggleWidth"), run: toggleWidth },
    { icon: "panel", name: translate("toggleSidebar"), run: () => document.querySelector(".drawer-open").click() },
    { icon: "settings", name: document.getElementById("configure").title, run: () => document.getElementById("configure").click() },
    { icon: "more", name: translate("showKeys"), run: showKeys },
  ];
}

field.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, SEARCH_AFTER_MS);
  show();
});

async function search() {
  const number = ++searches;
  try {
    const page = fragmentOf(await request(`${config.home}sidebar/?q=${encodeURIComponent(field.value)}`));
    if (number !== searches) return;
    found = [...page.querySelectorAll(".conversation-item > a")].map((link) => ({
      icon: "talk",
      name: link.querySelector(".conversation-title").textContent,
      detail: link.querySelector(".snippet")?.textContent,
      run: () => location.assign(link.getAttribute("href")),
    }));
  } catch {
    // Commands work without the server; the page itself says that the connection is lost.
    found = [];
  }
  show();
}

function show() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matching = commands.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
  // Commands leave room for conversations, which come after them.
  const commandsMax = words.length ? Math.max(COMMANDS_MAX, SHOWN_MAX - found.length) : COMMANDS_MAX - 1;
  shown = [...matching.slice(0, commandsMax), ...found].slice(0, SHOWN_MAX);
  list.replaceChildren(...shown.map(entry));
  dialog.querySelector(".menu-note").hidden = shown.length > 0;
  mark(0);
}

function entry({ icon, name, detail }, index) {
  const row = document.createElement("div");
  row.id = `palette-${index}`;
  row.className = "menu-item";
  row.setAttribute("role", "option");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  svg.firstChild.setAttribute("href", `#i-${icon}`);
  const text = document.createElement("span");
  text.dir = "auto";
  text.textContent = name;
  row.append(svg, text);
  if (detail) {
    const small = document.createElement("small");
    small.dir = "auto";
    small.textContent = detail;
    row.append(small);
  }
  return row;
}

function mark(index) {
  active = Math.max(0, Math.min(index, shown.length - 1));
  [...list.children].forEach((row, number) => row.setAttribute("aria-selected", String(number === active)));
  list.children[active]?.scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", shown.length ? `palette-${active}` : "");
}

function run(index) {
  const chosen = shown[index];
  if (!chosen) return;
  dialog.close();
  chosen.run();
}

field.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) event.preventDefault(), mark((active + step + shown.length) % (shown.length || 1));
  else if (event.key === "Enter") event.preventDefault(), run(active);
});
list.addEventListener("click", (event) => run([...list.children].indexOf(event.target.closest("[role=option]"))));
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
