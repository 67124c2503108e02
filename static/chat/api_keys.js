// The page of API keys: copies the new key.

const DONE_MS = 1_500;

const field = document.querySelector("#new-key");
const button = document.querySelector("[data-copy-key]");
const label = button.textContent;
button.hidden = false;
button.addEventListener("click", async () => {
  field.select();
  try {
    // Plain-http addresses have no clipboard API; the old command still works there.
    if (navigator.clipboard?.writeText) await navigator.clipboard.writeText(field.value);
    else if (!document.execCommand("copy")) return;
  } catch {
    return; // the key stays selected, so that the keyboard can copy it
  }
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = label; }, DONE_MS);
});
