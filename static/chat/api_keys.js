// The page of API keys: copies the new key, which is shown once.

const DONE_MS = 1_500;

const field = document.querySelector("#new-key");
const button = document.querySelector("[data-copy-key]");
const label = button.textContent;
button.hidden = false;
button.addEventListener("click", async () => {
  field.select();
  try {
    // Plain-http addresses have no clipboard; the old command still works there.
    if (navigator.clipboard?.writeText) await navigator.clipboard.writeText(field.value);
    else if (!document.execCommand("copy")) return;
  } catch {
    return; // it is selected: the keyboard copies it
  }
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = label; }, DONE_MS);
});
