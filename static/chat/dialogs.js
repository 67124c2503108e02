// Settings and receipts: pages of their own without scripts, dialogs with them.

import { current, fragmentOf, request, url } from "./config.js";

export function startDialogs() {
  const dialog = document.getElementById("dialog");
  const body = document.getElementById("dialog-body");
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && window.htmx) {
      event.preventDefault();
      await window.htmx.ajax("GET", link.getAttribute("href"), { target: body, swap: "innerHTML" });
      if (body.childElementCount) dialog.showModal();
    } else if (event.target.closest("[data-close]") && dialog.open) {
      event.preventDefault();
      dialog.close();
    } else if (event.target === dialog) {
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => body.replaceChildren());
  document.body.addEventListener("dialog-done", () => {
    showModel(body.querySelector("[name=model]")?.value);
    dialog.close();
  });
}

// Settings were changed elsewhere: the model in the bar follows.
export async function followSettings(id) {
  if (!document.getElementById("model")) return;
  const settings = fragmentOf(await request(url.configure(id)));
  if (id === current.id) showModel(settings.querySelector("[name=model]")?.value);
}

function showModel(chosen) {
  const picker = document.getElementById("model");
  if (!picker || chosen === undefined) return;
  // The first one is the default.
  picker.value = chosen || picker.options[0].value;
  picker.dispatchEvent(new Event("change"));
}
