// Settings and details: dialogs here, pages of their own without JavaScript.

import { current, fragmentOf, request, url } from "./config.js";

export function startDialogs() {
  const dialog = document.getElementById("dialog");
  const body = document.getElementById("dialog-body");
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && window.htmx) {
      event.preventDefault();
      await window.htmx.ajax("GET", link.getAttribute("href"), { target: body, swap: "innerHTML" });
      showLocalTimes(body);
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

// Update the selected model after the settings were changed elsewhere.
export async function followSettings(id) {
  if (!document.getElementById("model")) return;
  const settings = fragmentOf(await request(url.configure(id)));
  if (id === current.id) showModel(settings.querySelector("[name=model]")?.value);
}

// The server writes the site's time; show that of this device, with its twelve or twenty-four hours.
function showLocalTimes(root) {
  const { hourCycle } = new Intl.DateTimeFormat(undefined, { hour: "numeric" }).resolvedOptions();
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium", hourCycle });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = format.format(new Date(time.dateTime));
}

function showModel(chosen) {
  const picker = document.getElementById("model");
  if (!picker || chosen === undefined) return;
  // The first option is the default model.
  picker.value = chosen || picker.options[0].value;
  picker.dispatchEvent(new Event("change"));
}
