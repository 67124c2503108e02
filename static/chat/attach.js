// How files come to the composer: a button, dropping, pasting. What uploads them is loaded with the first file.

const picker = document.getElementById("files");

// `onFiles(files)` is called with those that the user chose.
export function startAttaching(composer, onFiles) {
  document.getElementById("attach").addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    onFiles([...picker.files]);
    picker.value = "";
  });
  composer.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    // Office programs put a picture of a text beside the text itself.
    if (!files.length || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    onFiles(files.map(named));
  });
  for (const type of ["dragenter", "dragover"]) addEventListener(type, (event) => hasFiles(event) && (event.preventDefault(), mark(composer, true)));
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(composer, false));
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(composer, false);
    onFiles([...event.dataTransfer.files]);
  });
}

function hasFiles({ dataTransfer }) {
  return dataTransfer?.types.includes("Files");
}

function mark(composer, isOver) {
  composer.classList.toggle("is-dropping", isOver);
}

// Every pasted picture is called image.png.
function named(file) {
  if (file.name !== "image.png") return file;
  const time = new Date().toTimeString().slice(0, 8).replaceAll(":", ".");
  return new File([file], `pasted ${time}.png`, { type: file.type });
}
