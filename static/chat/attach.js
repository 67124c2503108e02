// How files come to the composer: a button, dropping, pasting. What uploads them is loaded with the first file.

const picker = document.getElementById("files");

export function startAttaching(composer) {
  document.getElementById("attach").addEventListener("click", () => picker.click());
  const takeChosen = () => {
    composer.addFiles([...picker.files]);
    picker.value = "";
  };
  picker.addEventListener("change", takeChosen);
  // They may have been chosen before this script ran.
  if (picker.files.length) takeChosen();
  composer.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    // Office programs put a picture of a text beside the text itself.
    if (!files.length || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    composer.addFiles(files.map(named));
  });
  for (const type of ["dragenter", "dragover"]) addEventListener(type, (event) => hasFiles(event) && (event.preventDefault(), mark(composer, true)));
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(composer, false));
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    mark(composer, false);
    composer.addFiles([...event.dataTransfer.files]);
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
