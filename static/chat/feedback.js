// Thumbs, which are stored at once and ask why if they are down, and bookmarks.

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

export async function bookmark(button) {
  button.disabled = true;
  try {
    const body = new URLSearchParams({ [button.name]: button.value });
    const fresh = fragmentOf(await request(button.formAction, { method: "POST", body })).querySelector("button");
    button.replaceWith(fresh);
    fresh.focus({ preventScroll: true });
  } finally {
    button.disabled = false;
  }
}
