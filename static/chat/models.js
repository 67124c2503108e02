// The menu of models at the composer: radio buttons, with a search and favourites.

import { request } from "./config.js";

const menu = document.getElementById("models");

// The id of the model for the next message; undefined if there is no choice.
export function chosenModel() {
  const radio = menu?.querySelector("[name=model]:checked");
  return radio ? Number(radio.value) : undefined;
}

// The ids of further models that answer the next message side by side; at most three.
export function comparedModels() {
  const chosen = chosenModel();
  return compared().map((box) => Number(box.value)).filter((id) => id !== chosen);
}

// A comparison is asked for once. What comes next goes on with one answer.
export function endComparing() {
  compared().forEach((box) => { box.checked = false; });
  if (menu) showChosen();
}

function compared() {
  return menu ? [...menu.querySelectorAll("[name=compare]:checked")] : [];
}

// Choose a model by id; "": the default, which is marked by the server as the first one that is no favourite.
export function chooseModel(id) {
  const radio = menu?.querySelector(id ? `[name=model][value="${id}"]` : "[data-default]");
  if (!radio || radio.checked) return;
  radio.checked = true;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
}

export function startModels({ onChosen, onFailure }) {
  if (!menu) return;
  menu.addEventListener("change", ({ target }) => {
    if (target.name === "model") showChosen(), onChosen();
    if (target.name === "compare") showChosen(), onChosen();
  });
  menu.addEventListener("input", ({ target }) => target.type === "search" && search(target.value));
  menu.addEventListener("toggle", opened);
  menu.addEventListener("click", (event) => {
    const star = event.target.closest(".star");
    if (star) event.preventDefault(), mark(star).catch(onFailure);
    // A choice by mouse or touch closes the menu; the arrow keys only move through it.
    else if (event.detail > 0 && event.target.closest(".radio")) menu.open = false, document.getElementById("text").focus();
  });
  menu.addEventListener("keydown", (event) => {
    // Whoever begins to type means the message, which takes the key.
    const isText = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (isText && event.target.type !== "search") menu.open = false, document.getElementById("text").focus();
    if (event.key !== "Enter" || event.target.closest("button, summary")) return;
    event.preventDefault();
    if (event.target.type === "search") menu.querySelector(".model:not([hidden]) input")?.click();
    menu.open = false;
    document.getElementById("text").focus();
  });
  document.getElementById("favourites").addEventListener("submit", (event) => event.preventDefault());
}

// Whether a demo model is chosen.
export function isDemo() {
  return Boolean(menu?.querySelector("[name=model]:checked[data-demo]"));
}

// Whether the answer may come later, and at what share of the price, depends on the model.
function showLater({ later: percent }) {
  const box = document.getElementById("later");
  if (!box) return;
  box.closest("label").hidden = box.disabled = percent === undefined;
  document.querySelector("#later-note [data-percent]").textContent = percent ?? "";
}

// The name of a model that is asked and does not take pictures; "" if all of them do.
export function blindModel() {
  const only = document.getElementById("only-model");
  if (only && !only.hasAttribute("data-sees")) return only.textContent.trim();
  const asked = menu ? [chosenModel(), ...comparedModels()].map((id) => menu.querySelector(`[name=model][value="${id}"]`)) : [];
  const blind = asked.find((radio) => radio && !radio.hasAttribute("data-sees"));
  return blind?.parentElement.querySelector(".model-name").textContent ?? "";
}

function showChosen() {
  const others = comparedModels();
  showLater(others.length ? {} : menu.querySelector("[name=model]:checked").dataset);
  const model = menu.querySelector("[name=model]:checked ~ .model-name").textContent;
  const name = others.length ? `${model} + ${others.length}` : model;
  for (const box of menu.querySelectorAll("[name=compare]:not(:checked)")) box.disabled = others.length >= 3;
  const summary = menu.querySelector("summary");
  summary.querySelector("span").textContent = name;
  summary.setAttribute("aria-label", summary.dataset.label.replace("{model}", name));
}

function opened() {
  if (!menu.open) return;
  const field = menu.querySelector(".model-search") ?? menu.querySelector("[name=model]:checked");
  if (field.value && field.type === "search") field.value = "", search("");
  field.focus({ preventScroll: field.type !== "search" });
}

function search(query) {
  const words = query.toLowerCase().split(/\s+/);
  for (const row of menu.querySelectorAll(".model")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  menu.querySelector(".none").hidden = menu.querySelector(".model:not([hidden])") !== null;
}

async function mark(star) {
  await request(star.formAction, { method: "POST" });
  star.setAttribute("aria-pressed", String(star.getAttribute("aria-pressed") !== "true"));
}
