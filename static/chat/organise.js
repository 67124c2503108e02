// The page that organises conversations: select all, and ranges with Shift.

const form = document.getElementById("chosen");
const boxes = [...form.querySelectorAll("[name=id]")];
const all = form.querySelector("[data-all]");
let last = null;

all.hidden = false;
all.addEventListener("click", () => {
  const isAny = boxes.some((box) => !box.checked);
  for (const box of boxes) box.checked = isAny;
});
form.addEventListener("click", (event) => {
  const box = event.target.closest("[name=id]");
  if (!box) return;
  if (event.shiftKey && last) {
    const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
    for (const between of boxes.slice(from, to + 1)) between.checked = box.checked;
  }
  last = box;
});
