// Theme and "Press Enter to send", stored in cookies so that the server renders the next page with them.

const YEAR_S = 365 * 24 * 3600;

export function setCookie(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR_S}; samesite=lax`;
}

function cookie(name) {
  return document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}

// On a touch keyboard, Enter starts a new line by default.
export function enterSends() {
  const kept = cookie("enter");
  return kept ? kept === "sends" : !matchMedia("(pointer: coarse)").matches;
}

export function startPreferences(form, checkbox) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setTheme(event.submitter.value);
  });
  checkbox.checked = enterSends();
  hintEnter();
  checkbox.addEventListener("change", () => {
    setCookie("enter", checkbox.checked ? "sends" : "breaks");
    hintEnter();
  });
}

export function setTheme(theme) {
  setCookie("theme", theme);
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const button of document.querySelectorAll("form.theme button")) button.setAttribute("aria-pressed", String(button.value === theme));
}

// Whether the text takes more than the usual width.
export function toggleWidth() {
  setCookie("width", document.body.classList.toggle("is-broad") ? "broad" : "usual");
}

function hintEnter() {
  document.getElementById("text").enterKeyHint = enterSends() ? "send" : "enter";
}
