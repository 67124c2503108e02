// Small behaviour of all admin pages: menus close when something else is clicked, the theme changes in place.

import { setCookie } from "./preferences.js";
import { rememberList } from "./review/list.js";

rememberList(document.querySelector("[data-review-list], .model-conversation #result_list"));

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.account[open], details.menu[open], #changelist-filter details[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.account[open], details.menu[open]");
  if (menu) menu.open = false, menu.querySelector("summary").focus();
  else if (location.hash === "#navigation") location.hash = "content-start";
});

document.querySelector(".account-menu .theme")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const theme = event.submitter.value;
  setCookie("theme", theme);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of event.target.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === theme));
});

// The icons of Django's lists with two columns have a label, and no role that could have one.
addEventListener("load", () => {
  for (const icon of document.querySelectorAll("span.help-tooltip[aria-label]")) icon.setAttribute("role", "img");
});
