// Keyboard of the review desk. "?" lists it.

// What the next digit or letter means: "label", "verdict", or nothing.
let mode = "";
// What the page can do: announce, go, judge, say, submit, target.
let desk;

// Keys are used one after the other, also when they are typed faster than the server answers.
let queue = Promise.resolve();

export function startKeys(abilities) {
  desk = abilities;
  const dialog = document.getElementById("keys");
  document.querySelector("[data-keys]")?.addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return leave(event);
    if (isTyping(event.target) || !(event.key in ACTIONS || /^[0-9yn]$/i.test(event.key))) return;
    event.preventDefault();
    queue = queue.then(() => use(event.key, dialog)).catch(() => desk.announce("failed"));
  });
}

async function use(key, dialog) {
  if (mode && await choose(key.toLowerCase())) return;
  if (!(key in ACTIONS)) return;
  setMode("");
  await ACTIONS[key](dialog);
}

const ACTIONS = {
  "?": (dialog) => dialog.showModal(),
  j: () => desk.go(1),
  k: () => desk.go(-1),
  n: () => step(1),
  p: () => step(-1),
  c: () => desk.judge(""),
  f: () => press("[data-key=flag] button"),
  l: () => setMode("label"),
  v: () => setMode("verdict"),
  m: () => document.querySelector("[data-key=note] textarea")?.focus(),
  d: () => toggleDetails(),
  r: () => reviewed(),
};

function isTyping(element) {
  return element.isContentEditable || /^(input|textarea|select)$/i.test(element.tagName);
}

function leave(event) {
  setMode("");
  if (isTyping(event.target)) event.target.blur();
}

function answers() {
  return [...document.querySelectorAll("article[data-answer]")];
}

function current() {
  return document.activeElement?.closest?.("article.message") ?? document.getElementById(`m${desk.target()}`);
}

// Focus the next answer, and judge it.
async function step(by) {
  const all = answers();
  const from = current();
  const at = from ? all.indexOf(from) : -1;
  // From another message, the next answer below or above it.
  const next = at >= 0 ? all[at + by] : by > 0 ? all.find((each) => !from || isAfter(each, from)) : all.findLast((each) => from && isAfter(from, each));
  if (!next) return desk.announce(by > 0 ? "lastAnswer" : "firstAnswer");
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
  await desk.judge(next.dataset.message);
}

function isAfter(one, other) {
  return Boolean(other.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING);
}

function toggleDetails() {
  const details = (current() ?? answers().at(-1))?.querySelector(".run-details");
  if (details) details.open = !details.open;
}

async function press(selector) {
  const button = document.querySelector(selector);
  if (button) await desk.submit(button.form, button);
}

// What is reviewed stays so: only a click takes it back.
async function reviewed() {
  const button = document.querySelector("button[data-reviewed]");
  if (!button) return;
  if (button.dataset.reviewed === "0" && !(await desk.submit(button.form, button))) return;
  desk.announce("reviewed");
  await desk.go(1);
}

function setMode(name) {
  mode = name;
  for (const shown of document.querySelectorAll(".is-choosing")) shown.classList.remove("is-choosing");
  if (name) document.querySelector(`[data-key=${name}]`)?.classList.add("is-choosing");
  showQuestion(name === "verdict" ? nextQuestion(null) : null);
}

// Use a key for the label or the verdict that is being chosen; return whether it was one.
function choose(key) {
  return mode === "label" ? chooseLabel(key) : chooseVerdict(key);
}

async function chooseLabel(key) {
  if (!/^[1-9]$/.test(key)) return false;
  const button = document.querySelectorAll("[data-key=label] button")[Number(key) - 1];
  if (button) await desk.submit(button.form, button);
  setMode("label");
  return true;
}

function questions() {
  return [...document.querySelectorAll("[data-key=verdict] form.criterion")];
}

function nextQuestion(criterion) {
  const all = questions();
  const at = all.findIndex((form) => form.elements.criterion.value === criterion);
  return all.slice(at + 1).find((form) => at >= 0 || !form.querySelector("[aria-pressed=true]")) ?? (at < 0 ? all[0] : null);
}

function showQuestion(form) {
  for (const each of questions()) each.classList.toggle("is-asked", each === form);
  if (form) desk.say(form.querySelector(".values").getAttribute("aria-label"));
}

async function chooseVerdict(key) {
  const form = document.querySelector(".criterion.is-asked");
  if (!form || !/^[0-9yn]$/.test(key)) return false;
  // Letters answer yes or no, digits the other scales.
  if ("yn".includes(key) !== (form.dataset.scale === "yes_no")) return !"yn".includes(key);
  const value = { y: "1", n: "0" }[key] ?? key;
  const button = form.querySelector(`[data-value="${value}"]`);
  if (!button) return true;
  const criterion = form.elements.criterion.value;
  // The same verdict again keeps it; only a click withdraws it.
  if (button.value !== "") await desk.submit(form, button);
  const next = nextQuestion(criterion);
  setMode(next ? "verdict" : "");
  showQuestion(next ?? null);
  return true;
}
