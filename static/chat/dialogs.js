// Settings and receipts: pages of their own without scripts, dialogs with them.

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
    keepModel(body);
    dialog.close();
  });
}

// The bar's model follows what was chosen in the dialog.
function keepModel(body) {
  const chosen = body.querySelector("[name=model]")?.value;
  const picker = document.getElementById("model");
  if (chosen && picker) picker.value = chosen;
}
