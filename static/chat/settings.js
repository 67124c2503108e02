// The settings page: whether the browser may show notifications.

const words = JSON.parse(document.getElementById("notice-words").textContent);
const state = document.querySelector("[data-notices]");
const allow = document.querySelector("[data-allow]");

function show() {
  const permission = globalThis.Notification?.permission;
  state.hidden = !words[permission];
  state.textContent = words[permission] ?? "";
  allow.hidden = permission !== "default";
}

allow.addEventListener("click", () => Notification.requestPermission().then(show));
show();
