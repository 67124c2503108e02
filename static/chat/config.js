// The page's configuration from the server, and helpers that every module uses.

const { body } = document;
const messages = JSON.parse(document.getElementById("js-messages").textContent);

export const VERSION = 1;
export const config = Object.freeze({
  user: body.dataset.user,
  home: body.dataset.home,
  maxChars: Number(body.dataset.maxChars),
  // The largest file, and the same for people.
  maxFileBytes: Number(body.dataset.maxFileBytes),
  maxFile: body.dataset.maxFile,
  csrf: body.dataset.csrf,
  // Whether the server accepts forms and sockets from the address in this browser, and whom to tell if not.
  isAddressKnown: body.dataset.addresses.split(" ").some((address) => new URL(address).origin === location.origin),
  isStaff: "staff" in body.dataset,
});

// The conversation that this page shows; "" until a new one is accepted.
export const current = {
  get id() { return body.dataset.conversation; },
  set id(id) { body.dataset.conversation = id; },
};

// Return a message in the user's language, with its {braces} filled in.
export function translate(name, values = {}) {
  return (messages[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

export const url = {
  conversation: (id) => `${config.home}c/${id}/`,
  configure: (id) => `${config.home}c/${id}/configure/`,
  move: (id) => `${config.home}c/${id}/move/`,
  organise: (id) => `${config.home}c/${id}/organise/`,
  outline: (id) => `${config.home}c/${id}/outline/`,
  transcript: (id, limit) => `${config.home}c/${id}/transcript/?limit=${limit}`,
  edit: (id) => `${config.home}m/${id}/edit/`,
  message: (id) => `${config.home}m/${id}/`,
  attachment: (id) => `${config.home}attachments/${id}/`,
  stop: (id) => `${config.home}g/${id}/stop/`,
  // Names the user, because another user may have signed in on this browser in the meantime.
  socket: () => new URL(`${config.home}ws/?user=${config.user}`, location.href).href.replace(/^http/, "ws"),
};

// crypto.randomUUID is missing on plain-http LAN addresses; getRandomValues is not.
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Local storage can be full, blocked or absent. The page works without it.
export const storage = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); return true; } catch { return false; } },
  // What was stored as JSON; null if there is none. What cannot be read is removed.
  json(key) { try { return JSON.parse(storage.get(key)); } catch { storage.remove(key); return null; } },
  remove(key) { try { localStorage.removeItem(key); } catch { /* nothing is stored */ } },
  keys() { try { return Object.keys(localStorage); } catch { return []; } },
};

// Identifies this tab; survives a reload.
export const tab = (() => {
  try {
    const known = sessionStorage.getItem("chatsite.tab");
    const id = known ?? randomId();
    sessionStorage.setItem("chatsite.tab", id);
    return id;
  } catch {
    return randomId();
  }
})();

export class SignedOut extends Error {}

// Request a page fragment from the server, or submit a form to it. Throws SignedOut, or Error on any other failure.
export async function request(address, { method = "GET", body: data } = {}) {
  const headers = { "HX-Request": "true", "X-CSRFToken": config.csrf };
  const response = await fetch(address, { method, body: data, headers, credentials: "same-origin" });
  if (response.status === 401) throw new SignedOut();
  if (!response.ok) throw Object.assign(new Error(`${response.status} from ${address}`), { status: response.status });
  return response.text();
}

// Request a text while the page waits: for what a browser allows only in the task of the user's click.
export function requestNow(address) {
  const call = new XMLHttpRequest();
  call.open("GET", address, false);
  call.setRequestHeader("HX-Request", "true");
  call.send();
  if (call.status !== 200) throw new Error(`${call.status} from ${address}`);
  return call.responseText;
}

// Only for HTML that our own server rendered and sanitized.
export function fragmentOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

// A root whose querySelectorAll covers the article itself as well as its content.
export function wrapped(article) {
  return {
    querySelectorAll: (selector) => [...(article.matches(selector) ? [article] : []), ...article.querySelectorAll(selector)],
  };
}

let announcements = 0;
// Announce a text to screen readers.
export function announce(text) {
  const region = document.getElementById("announcer");
  // A screen reader does not read the same text twice in a row, so every other one gets a trailing space.
  region.textContent = text + (announcements++ % 2 ? " " : "");
}
