// What people can do with blocks of an answer: copy, wrap, unfold and download code; copy, download and sort tables.

import { codeOf, copyText } from "./clipboard.js";
import { translate } from "./config.js";

// Longer code is folded when a page is opened; not what has just been read while it was written.
const FOLDED_FROM_LINES = 60;
const ENDINGS = {
  python: "py", javascript: "js", typescript: "ts", bash: "sh", shell: "sh", sh: "sh", rust: "rs", ruby: "rb", csharp: "cs",
  "c++": "cpp", cpp: "cpp", c: "c", kotlin: "kt", markdown: "md", yaml: "yml", go: "go", java: "java", php: "php", sql: "sql",
  html: "html", css: "css", json: "json", xml: "xml", toml: "toml", swift: "swift", tsx: "tsx", jsx: "jsx", diff: "diff",
};
const NAMES = {
  python: "Python", py: "Python", javascript: "JavaScript", js: "JavaScript", typescript: "TypeScript", ts: "TypeScript",
  bash: "Bash", sh: "Shell", shell: "Shell", html: "HTML", css: "CSS", json: "JSON", sql: "SQL", rust: "Rust", go: "Go",
  java: "Java", csharp: "C#", cpp: "C++", "c++": "C++", c: "C", kotlin: "Kotlin", swift: "Swift", ruby: "Ruby", php: "PHP",
  yaml: "YAML", yml: "YAML", xml: "XML", toml: "TOML", markdown: "Markdown", md: "Markdown", diff: "Diff", mermaid: "Mermaid", jsx: "JSX", tsx: "TSX",
};
const NUMBER = /^[^\d-]{0,3}(-?[\d.,\u202f\u00a0']*\d)/;

// Add a header to each block of code under `root`. Its labels are drawn by the style sheet (::before): they are no
// text that a selection could contain.
export function addCodeHeads(root) {
  for (const box of root.querySelectorAll(".prose .code:not(:has(> .code-head))")) {
    const { title, language } = box.dataset;
    const head = document.createElement("div");
    const label = document.createElement("span");
    head.className = "code-head";
    label.dataset.label = title || NAMES[language] || language || "";
    head.append(label, button("wrap-code", "wrap"), button("download-code", "download"), button("copy-code", "copy"));
    box.prepend(head);
  }
}

// Add what only final answers have. `isOpened`: the page was opened with them.
export function addTools(root, isOpened = false) {
  addCodeHeads(root);
  for (const box of root.querySelectorAll('.prose:not(.streaming) .code[data-language="mermaid"]:not(:has([data-action=show-diagram]))')) {
    box.querySelector(".code-head span").after(button("show-diagram", "showDiagram", "diagram"));
  }
  for (const box of root.querySelectorAll(".prose:not(.streaming) .table:not(:has(> .table-tools))")) {
    const tools = document.createElement("div");
    tools.className = "table-tools";
    tools.append(button("copy-table", "copyTable", "copy"), button("download-table", "downloadTable", "download"));
    box.prepend(tools);
    for (const head of box.querySelectorAll("thead th")) addSorting(head);
  }
  if (isOpened) for (const box of root.querySelectorAll(".prose .code")) fold(box);
}

// Handle a click on one of these buttons.
export function useTool(element) {
  const { action } = element.dataset;
  if (action === "copy-code") copyText(element, codeOf(element));
  else if (action === "download-code") download(`code.${endingOf(element.closest(".code"))}`, codeOf(element));
  else if (action === "wrap-code") toggle(element, element.closest(".code").classList.toggle("is-wrapped"));
  else if (action === "show-diagram") import("./diagram.js").then(({ toggleDiagram }) => toggleDiagram(element));
  else if (action === "unfold-code") unfold(element);
  else if (action === "copy-table") copyText(element, textOf(tableOf(element), "\t", plain));
  else if (action === "download-table") download("table.csv", textOf(tableOf(element), ",", quoted));
  else if (action === "sort-table") sort(element.closest("th"));
}

function button(action, name, icon = name) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "tool";
  Object.assign(made.dataset, { action, name });
  made.setAttribute("aria-label", translate(name));
  made.title = translate(name);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "use"));
  svg.firstChild.setAttribute("href", `#i-${icon}`);
  made.append(svg);
  return made;
}

function toggle(element, isOn) {
  element.setAttribute("aria-pressed", String(isOn));
}

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function endingOf(box) {
  const { language } = box.dataset;
  return ENDINGS[language] ?? (/^[a-z0-9]{1,5}$/.test(language) ? language : "txt");
}

// -- long code ------------------------------------------------------------------------------------

function fold(box) {
  const lines = box.querySelector("pre").textContent.split("\n").length - 1;
  if (lines <= FOLDED_FROM_LINES || box.querySelector(".unfold")) return;
  const more = document.createElement("button");
  more.type = "button";
  more.className = "unfold";
  more.dataset.action = "unfold-code";
  more.dataset.label = translate("allLines", { lines });
  more.setAttribute("aria-label", more.dataset.label);
  box.append(more);
  box.classList.add("is-folded");
}

function unfold(more) {
  const box = more.closest(".code");
  box.classList.remove("is-folded");
  more.remove();
  box.querySelector("pre").focus({ preventScroll: true });
}

// -- tables ---------------------------------------------------------------------------------------

function tableOf(element) {
  return element.closest(".table").querySelector("table");
}

function textOf(table, separator, write) {
  return [...table.rows].map((row) => [...row.cells].map((cell) => write(wordsOf(cell))).join(separator)).join("\r\n");
}

function wordsOf(cell) {
  const copied = cell.cloneNode(true);
  for (const formula of copied.querySelectorAll("[data-tex]")) formula.textContent = formula.dataset.tex;
  return copied.textContent.replace(/\s+/g, " ").trim();
}

const plain = (text) => text;

// A spreadsheet runs a cell that starts with one of these as a formula; numbers stay numbers.
function quoted(text) {
  const safe = /^[=+@\t]|^-(?![\d.,]+$)/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function addSorting(head) {
  if (!head.textContent.trim()) return;
  const made = document.createElement("button");
  made.type = "button";
  made.className = "sort";
  made.dataset.action = "sort-table";
  made.title = translate("sort");
  made.append(...head.childNodes);
  head.append(made);
}

// Upwards, downwards, and back to the order of the answer.
function sort(head) {
  const { tBodies: [body] } = head.closest("table");
  const order = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort ?? "none"];
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  if (order !== "none") head.setAttribute("aria-sort", order);
  const rows = [...body.rows];
  rows.forEach((row, index) => { row.dataset.order ??= index; });
  const sign = order === "descending" ? -1 : 1;
  const keys = new Map(rows.map((row) => [row, wordsOf(row.cells[head.cellIndex] ?? row)]));
  const compare = order === "none"
    ? (a, b) => a.dataset.order - b.dataset.order
    : (a, b) => sign * compared(keys.get(a), keys.get(b)) || a.dataset.order - b.dataset.order;
  body.append(...rows.sort(compare));
}

function compared(a, b) {
  const [first, second] = [numberOf(a), numberOf(b)];
  if (first !== null && second !== null) return first - second;
  return a.localeCompare(b, undefined, { numeric: true, sensitivity: "base" });
}

// The number at the start of a text, whatever separates its thousands and decimals; null if there is none.
function numberOf(text) {
  const written = NUMBER.exec(text)?.[1].replace(/[\s\u202f\u00a0']/g, "");
  if (!written) return null;
  const point = Math.max(written.lastIndexOf("."), written.lastIndexOf(","));
  const groups = written.split(/[.,]/).slice(1);
  // Groups of three digits that all end alike are thousands.
  const isThousands = groups.length > 0 && groups.every((group) => group.length === 3) && new Set(written.replace(/[^.,]/g, "")).size === 1;
  if (point < 0 || isThousands) return Number(written.replace(/[.,]/g, ""));
  return Number(`${written.slice(0, point).replace(/[.,]/g, "")}.${written.slice(point + 1)}`);
}
