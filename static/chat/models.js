// The menu of models at the composer: radio buttons, with a search and favourites.

import { request } from "./config.js";

const menu = document.getElementById("models");

// The id of the model for the next message; undefined if there is no choice.
export function chosenModel() {
  const radio = menu?.querySelector("input:checked");
  return radio ? Number(radio.value) : undefined;
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
  });
  menu.addEventListener("input", ({ target }) => target.type === "search" && search(target.value));
  menu.addEventListener("toggle", opened);
  menu.addEventListener("click", (event) => {
    const star = event.target.closest(".star");
    if (star) event.preventDefault(), mark(star).catch(onFailure);
    // A choice by mouse or touch closes the menu; the arrow keys only move through it.
    else if (event.detail > 0 && event.target.closest(".model")) menu.open = false, document.getElementById("text").focus();
  });
  menu.addEventListener("keydown", (event) => {
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
  return Boolean(menu?.querySelector("input:checked[data-demo]"));
}

function showChosen() {
  const name = menu.querySelector("input:checked ~ .model-name").textContent;
  const summary = menu.querySelector("summary");
  summary.querySelector("span").textContent = name;
  summary.setAttribute("aria-label", summary.dataset.label.replace("{model}", name));
}

function opened() {
  if (!menu.open) return;
  const field = menu.querySelector(".model-search") ?? menu.querySelector("input:checked");
  if (field.value && field.type === "search") field.value = "", search("");
  field.focus({ preventScroll: field.type !== "search" });
}

function search(query) {
  const words = query.toLowerCase().split(/\s+/);
  for (const row of menu.querySelectorAll(".model")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  menu.querySelector(".menu-note").hidden = menu.querySelector(".model:not([hidden])") !== null;
}

async function mark(star) {
  await request(star.formAction, { method: "POST" });
  star.setAttribute("aria-pressed", String(star.getAttribute("aria-pressed") !== "true"));
}
