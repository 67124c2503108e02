// Thumbs: stored at once; a thumb down asks why.

import { fragmentOf, request } from "./config.js";

// The link whose dialog is open.
let asked = null;

document.body.addEventListener("dialog-done", () => { if (asked) asked.textContent = asked.dataset.given; });
document.getElementById("dialog").addEventListener("close", () => { asked = null; });

// The dialog of this link opens.
export function noteAsked(link) {
  asked = link;
}

export async function rate(button) {
  const box = button.closest(".thumbs");
  const label = button.getAttribute("aria-label");
  const { value } = button;
  box.inert = true;
  try {
    const fragment = fragmentOf(await request(button.formAction, { method: "POST", body: new URLSearchParams({ value }) }));
    const thumbs = fragment.querySelector(".thumbs");
    box.replaceWith(thumbs);
    thumbs.querySelector(`[aria-label="${label}"]`).focus({ preventScroll: true });
    if (value === "-1") thumbs.querySelector("a[data-dialog]").click();
  } finally {
    box.inert = false;
  }
}
