// The text that was selected in the transcript is what the form removes.

const selected = sessionStorage.getItem("redact");
const phrase = document.getElementById("phrase");
sessionStorage.removeItem("redact");
if (selected && !phrase.value) {
  phrase.value = selected;
  document.querySelector("[name=what][value=phrase]").checked = true;
}
phrase.addEventListener("input", () => {
  document.querySelector("[name=what][value=phrase]").checked = true;
});
