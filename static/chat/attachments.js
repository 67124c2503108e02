// The files of the next message: uploads with progress, and the chips that show them. Loaded with the first file.

import { config, translate } from "./config.js";
import { blindModel } from "./models.js";

const FILES_MAX = 10;

// What is kept in drafts and in the outbox of an uploaded file.
const kept = ({ id, name, kind, seen, summary, notes, url: address, width, height }) => ({ id, name, kind, seen, summary, notes, url: address, width, height });

export class ComposerFiles {
  #composer;
  #list;
  #note;
  // Each {name, chip, state: "uploading" | "ready" | "failed", file?, upload?, error?} and, when ready, what the server said.
  #files = [];

  constructor(composer) {
    this.#composer = composer;
    this.#list = composer.querySelector(".chips");
    this.#note = composer.querySelector(".files-note");
    addEventListener("beforeunload", this.#leaving);
  }

  get isAny() {
    return this.#files.length > 0;
  }

  get isUploading() {
    return this.#files.some(({ state }) => state === "uploading");
  }

  // Why the message cannot be sent as it is; "" if it can.
  get problem() {
    if (this.#files.some(({ state }) => state === "failed")) return translate("filesFailed");
    return this.#note.hidden ? "" : this.#note.textContent;
  }

  get kept() {
    return this.#files.filter(({ state }) => state !== "failed").map((file) => (file.state === "ready" ? kept(file) : { name: file.name }));
  }

  // Upload files that the user chose, dropped or pasted.
  add(chosen) {
    const room = FILES_MAX - this.#files.length;
    if (chosen.length > room) this.#composer.problem(translate("filesTooMany", { limit: FILES_MAX }));
    for (const file of chosen.slice(0, room)) this.#begin(file);
  }

  // Show files that are uploaded already; those of a draft whose upload did not end can only be removed.
  put(files) {
    for (const file of files) {
      if (this.#files.some(({ id }) => id && id === file.id)) continue;
      const entry = this.#show({ ...file });
      if (file.id) this.#ready(entry, file);
      else this.#failed(entry, translate("fileLost"));
    }
  }

  // Return the files of the message that is sent now, and begin with none.
  take() {
    const taken = this.#files.filter(({ state }) => state === "ready").map(kept);
    this.clear();
    return taken;
  }

  clear() {
    for (const file of [...this.#files]) this.#remove(file);
  }

  // Say at once if a model that is asked will not see the pictures.
  modelChosen() {
    const blind = this.#files.some(({ kind, seen, state }) => (seen || kind === "image") && state === "ready") ? blindModel() : "";
    this.#note.hidden = !blind;
    this.#note.textContent = blind ? translate("cannotSee", { model: blind }) : "";
  }

  // -- uploads ----------------------------------------------------------------------------------

  #begin(file) {
    const entry = this.#show({ name: file.name || translate("file"), file });
    if (file.size <= config.maxFileBytes) return this.#upload(entry);
    this.#refuse(entry, translate("fileTooLarge", { limit: config.maxFile }));
  }

  #upload(entry) {
    const call = new XMLHttpRequest();
    Object.assign(entry, { upload: call, state: "uploading" });
    this.#draw(entry, translate("uploading"), 0);
    call.upload.addEventListener("progress", ({ loaded, total }) => {
      const text = loaded < total ? translate("uploadingPercent", { percent: Math.floor((100 * loaded) / total) }) : translate("readingFile");
      this.#draw(entry, text, loaded < total ? loaded / total : null);
    });
    call.addEventListener("load", () => this.#answered(entry, call));
    call.addEventListener("error", () => this.#failed(entry, translate("uploadFailed")));
    call.open("POST", `${config.home}attachments/?name=${encodeURIComponent(entry.name)}`);
    call.setRequestHeader("HX-Request", "true");
    call.setRequestHeader("X-CSRFToken", config.csrf);
    // Never a type of a form: the server would take the body apart.
    call.setRequestHeader("Content-Type", /^(image|text)\//.test(entry.file.type) ? entry.file.type : "application/octet-stream");
    call.send(entry.file);
    this.#changed();
  }

  #answered(entry, call) {
    if (call.status === 201) return this.#ready(entry, JSON.parse(call.responseText));
    const words = { 401: "signedOut", 413: "fileNotAccepted" }[call.status];
    const isSentence = call.getResponseHeader("Content-Type")?.startsWith("text/plain");
    const text = words ? translate(words) : isSentence ? call.responseText : translate("uploadFailed");
    // What the server says about the file will not change; what it says about itself can.
    if (call.status === 413 || (isSentence && call.status < 500)) return this.#refuse(entry, text);
    this.#failed(entry, text);
  }

  // Show why a file cannot be attached. Another try would not help.
  #refuse(entry, text) {
    entry.file = null;
    this.#failed(entry, text);
  }

  #ready(entry, answer) {
    if (this.#files.some((other) => other !== entry && other.id === answer.id)) return this.#remove(entry);
    Object.assign(entry, kept(answer), { state: "ready", upload: null, file: null });
    this.#draw(entry, [entry.summary, ...(entry.notes ?? [])].join(" "), undefined);
    this.#changed();
  }

  #failed(entry, error) {
    Object.assign(entry, { state: "failed", upload: null });
    this.#draw(entry, error, undefined);
    this.#changed();
  }

  #remove(entry) {
    entry.upload?.abort();
    this.#files = this.#files.filter((file) => file !== entry);
    entry.chip.remove();
    this.#changed();
  }

  #changed() {
    this.#list.hidden = !this.isAny;
    this.modelChosen();
    this.#composer.filesChanged();
  }

  #leaving = (event) => {
    if (this.isUploading) event.preventDefault();
  };

  // -- chips ------------------------------------------------------------------------------------

  #show(entry) {
    entry.chip = element("li", "file-chip");
    this.#files.push(entry);
    this.#list.append(entry.chip);
    return entry;
  }

  // `progress`: from 0 to 1, null if unknown, undefined if it has ended.
  #draw(entry, text, progress) {
    const { chip, name, state } = entry;
    const had = chip.contains(document.activeElement);
    chip.dataset.state = state;
    const words = element("span", "file-words");
    const line = element("small", "", text);
    line.setAttribute("role", "status");
    words.append(element("span", "file-name", name), line);
    if (progress !== undefined) {
      const bar = element("progress", "");
      if (progress !== null) bar.value = progress;
      bar.setAttribute("aria-label", name);
      words.append(bar);
    }
    const buttons = [];
    if (state === "failed" && entry.file) buttons.push(this.#button("again", "retryFile", name, () => this.#upload(entry)));
    buttons.push(this.#button("close", state === "uploading" ? "cancelUpload" : "removeFile", name, () => this.#removed(entry)));
    chip.replaceChildren(pictureOf(state === "ready" ? entry : {}), words, ...buttons);
    if (had) buttons.at(-1).focus();
  }

  #removed(entry) {
    this.#remove(entry);
    this.#composer.focus();
  }

  #button(icon, label, name, onClick) {
    const button = element("button", "icon-button");
    button.type = "button";
    button.ariaLabel = translate(label, { name });
    button.title = button.ariaLabel;
    button.append(iconOf(icon));
    button.addEventListener("click", onClick);
    return button;
  }
}

// The files of a message that is not acknowledged yet; the same as the server's chat/_attachments.html.
export function fileList(files) {
  const list = element("ul", "files");
  list.append(...files.map((file) => {
    const item = element("li", `file ${file.kind}`);
    const { notes, seen, ...data } = file;
    for (const [name, value] of Object.entries(data)) if (value !== null && value !== undefined) item.dataset[name] = value;
    const link = element("a", "");
    link.href = file.url;
    if (file.kind === "image") {
      link.target = "_blank";
      link.append(pictureOf(file));
    } else {
      link.download = "";
      const words = element("span", "file-words");
      words.append(element("span", "file-name", file.name), element("small", "", file.summary));
      link.append(iconOf("file"), words);
    }
    item.append(link);
    return item;
  }));
  return list;
}

function pictureOf({ kind, url: address, name, width, height }) {
  if (kind !== "image") return iconOf("file");
  const picture = element("img", "");
  Object.assign(picture, { src: address, alt: name, loading: "lazy" });
  if (width) Object.assign(picture, { width, height });
  return picture;
}

function iconOf(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
