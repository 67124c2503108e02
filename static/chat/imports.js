// The import pages: sends files in parts, goes on after a lost connection, and follows running imports.

const REFRESH_MS = 2_000;
const RETRY_MS = 3_000;

const form = document.querySelector("[data-upload]");
let cancelled = false;

async function post(url, body) {
  const token = form.querySelector("[name=csrfmiddlewaretoken]").value;
  const response = await fetch(url, { method: "POST", headers: { "X-CSRFToken": token }, body });
  if (response.ok || response.status === 409) return response.json();
  const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
  throw new Error(isText ? await response.text() : `${response.status} ${response.statusText}`);
}

// A lost connection is a TypeError of fetch. What the server refuses is another error.
async function send(file, show, words) {
  const begin = new FormData();
  begin.append("name", file.name);
  begin.append("size", String(file.size));
  const { part, part_bytes: size } = await post(location.pathname, begin);
  let received = 0;
  while (received < file.size && !cancelled) {
    try {
      const piece = new Blob([file.slice(received, received + size)], { type: "application/octet-stream" });
      ({ received } = await post(`${part}?offset=${received}`, piece));
      show(Math.round((100 * received) / file.size), `${words.sending} ${file.name}`);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      show(Math.round((100 * received) / file.size), words.lost);
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
    }
  }
}

function enable() {
  const words = JSON.parse(document.getElementById("import-words").textContent);
  const [input, button, cancel] = ["[type=file]", "button.primary", "[data-cancel]"].map((each) => form.querySelector(each));
  const [progress, problem] = ["[data-progress]", "[data-problem]"].map((each) => form.querySelector(each));
  form.hidden = false;
  const update = () => { button.disabled = !input.files.length; };
  input.addEventListener("change", update);
  update();
  cancel.addEventListener("click", () => { cancelled = true; });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    input.disabled = true;
    cancel.hidden = progress.hidden = false;
    problem.hidden = true;
    const show = (percent, text) => {
      progress.querySelector("progress").value = percent;
      progress.querySelector("span").textContent = text;
    };
    try {
      for (const file of input.files) await send(file, show, words);
      location.reload();
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      cancel.hidden = progress.hidden = true;
      input.disabled = false;
      update();
    }
  });
}

// Replaces the lines that say how far each import is.
async function refresh() {
  try {
    const response = await fetch(location.href);
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const states = page.querySelectorAll("[data-state]");
    const wasActive = document.querySelectorAll("[data-active]").length;
    document.querySelectorAll("[data-state]").forEach((old, index) => states[index] && old.replaceWith(document.adoptNode(states[index])));
    if (wasActive > document.querySelectorAll("[data-active]").length && (!form || form.querySelector("[data-progress]").hidden)) location.reload();
  } catch { /* the next one */ }
}

if (form) enable();
setInterval(() => { if (document.querySelector("[data-active]")) refresh(); }, REFRESH_MS);
