// The message field: grows with the text, saves drafts, and sends on Enter if the user wants that.

import { config, current, storage, translate } from "./config.js";
import { enterSends } from "./preferences.js";

const DRAFT_AFTER_MS = 200;
const COUNTER_FROM = 0.9;
const NEW = "new";

// Events: "send" {text, edit?, attachments?}, "queue" (the same), "stop", "edit-last", "edited" {id or null}.
class ChatComposer extends HTMLElement {
  #form;
  #field;
  #draftTimer = 0;
  // The message that is being edited, and the text that was in the field before.
  #edit = null;
  #isBusy = false;
  // The user sent the text while files were uploaded: it is sent when they are.
  #isHeld = false;
  #isClosed = false;
  // One of several answers has to be chosen first.
  #isUndecided = false;
  // The files of the message (attachments.js); null until the first one.
  files = null;
  #loading = null;
  // What is to be done with the files when attachments.js is loaded.
  #pending = [];

  connectedCallback() {
    this.#form = this.querySelector("form");
    this.#field = this.querySelector("textarea");
    this.#form.addEventListener("submit", this.#submitted);
    this.#field.addEventListener("keydown", this.#pressed);
    this.#field.addEventListener("input", this.#changed);
    this.querySelector(".stop").addEventListener("click", this.#stopped);
    this.#settingsBox?.addEventListener("input", this.#changed);
    // Open the settings if one of them is invalid, so that the browser can point to it.
    this.#settingsBox?.addEventListener("invalid", () => this.#openSettings(), true);
    this.querySelector("[data-cancel]").addEventListener("click", this.#cancelled);
    addEventListener("pagehide", this.#keep);
  }

  disconnectedCallback() {
    this.#keep();
    removeEventListener("pagehide", this.#keep);
  }

  start() {
    // A text that the server returned after a refusal is newer than any draft.
    if (this.#field.value) this.#adoptServerEdit();
    else this.#restoreDraft();
    this.#fit();
    this.#count();
  }

  get text() {
    return this.#field.value;
  }

  get isEditing() {
    return this.#edit !== null;
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  setBusy(isBusy, isRunning, isUndecided = false) {
    this.#isBusy = isBusy;
    this.#isUndecided = isUndecided;
    this.classList.toggle("is-running", isRunning);
    if (isBusy) return;
    this.#clearProblem(translate("busy"));
    if (!isUndecided) this.#clearProblem(translate("chooseFirst"));
  }

  // Upload files for the message.
  addFiles(chosen) {
    this.#withFiles((files) => files.add(chosen));
  }

  #withFiles(use) {
    this.#pending.push(use);
    this.#loadFiles();
  }

  async #loadFiles() {
    try {
      this.#loading ??= import("./attachments.js").then(({ ComposerFiles }) => { this.files = new ComposerFiles(this); });
      await this.#loading;
    } catch {
      this.#loading = null;
      this.#cancelHold();
      return this.problem(translate("uploadFailed"));
    }
    for (const use of this.#pending.splice(0)) use(this.files);
    this.#sendHeld();
  }

  #clearFiles() {
    this.#pending = [];
    this.files?.clear();
  }

  get #hasFiles() {
    return this.#pending.length > 0 || Boolean(this.files?.isAny);
  }

  get #areFilesComing() {
    return this.#pending.length > 0 || Boolean(this.files?.isUploading);
  }

  filesChanged() {
    this.#count();
    this.#keep();
    if (this.#isHeld && this.files.problem) this.#cancelHold();
    if (this.#isHeld) queueMicrotask(this.#sendHeld);
  }

  #putFiles(attachments) {
    if (attachments?.length) this.#withFiles((files) => files.put(attachments));
  }

  close(isClosed) {
    this.#isClosed = isClosed;
    this.querySelector(".send").disabled = isClosed;
    if (isClosed) this.#cancelHold();
  }

  // The settings of a new conversation; empty for an existing one.
  get settings() {
    const { system_prompt: prompt, temperature, project, temporary } = this.#form.elements;
    if (!prompt) return {};
    return { project: project ? Number(project.value) : undefined, temporary: temporary.checked || undefined, system_prompt: prompt.value || undefined, temperature: temperature.value ? Number(temperature.value) : undefined };
  }

  set settings({ system_prompt: prompt, temperature }) {
    const fields = this.#form.elements;
    if (!fields.system_prompt || (!prompt && temperature === undefined)) return;
    fields.system_prompt.value = prompt ?? "";
    fields.temperature.value = temperature ?? "";
    this.#settingsBox.open = true;
  }

  showSettings() {
    this.#openSettings();
    this.#settingsBox?.scrollIntoView({ block: "nearest" });
    this.#form.elements.system_prompt?.focus({ preventScroll: true });
  }

  // The new conversation has an address now: move its draft there.
  conversationCreated() {
    storage.remove(draftKey(NEW));
    this.#form.elements.conversation.value = current.id;
    this.querySelector("[data-cancel]").href = location.pathname;
    this.#keep();
  }

  // Put a refused text back, before any text written since, and show the reason.
  restoreText({ text, later, attachments, ...settings }, reason) {
    this.settings = settings;
    if (later && this.#form.elements.later) this.#form.elements.later.checked = true;
    this.#putFiles(attachments);
    const { value } = this.#field;
    if (text && !value.includes(text)) this.#set(value.trim() ? `${text}\n\n${value}` : text);
    this.problem(reason);
    this.focus();
  }

  // Save a refused text of another conversation ("": a new one) as its draft.
  saveDraftFor(conversation, { text, attachments = [] }, reason) {
    if (!text && !attachments.length) return;
    const key = draftKey(conversation || NEW);
    const draft = keptDraft(key);
    const files = [...(draft.attachments ?? []), ...attachments];
    if (!draft.text?.includes(text)) storage.set(key, JSON.stringify({ ...draft, text: draft.text ? `${text}\n\n${draft.text}` : text, attachments: files }));
    this.problem(translate("keptElsewhere", { reason }));
  }

  problem(text) {
    const line = this.querySelector(".problem");
    line.textContent = text;
    line.hidden = !text;
  }

  // What the user should know about a budget: until the next message is accepted.
  warn(text) {
    const line = this.querySelector(".warning");
    line.textContent = text ?? "";
    line.hidden = !text;
  }

  beginEdit({ id, parent, text, attachments }) {
    const { aside = this.#field.value, asideFiles = this.files?.kept } = this.#edit ?? {};
    this.#edit = { id, parent, aside, asideFiles };
    this.#clearFiles();
    this.#putFiles(attachments);
    this.querySelector(".editing").hidden = false;
    this.problem("");
    this.#set(text);
    this.focus();
    this.#field.setSelectionRange(text.length, text.length);
    this.#emit("edited", { id });
  }

  endEdit() {
    if (!this.#edit) return;
    const { aside, asideFiles } = this.#edit;
    this.#edit = null;
    this.#clearFiles();
    this.#putFiles(asideFiles);
    this.querySelector(".editing").hidden = true;
    this.#set(aside);
    this.#emit("edited", { id: null });
  }

  // -- sending ----------------------------------------------------------------------------------

  send(text = this.#field.value) {
    if (this.#isClosed || !(text.trim() || this.#hasFiles)) return;
    const length = lengthOf(text);
    if (length > config.maxChars) return this.problem(translate("tooLong", { length, limit: config.maxChars }));
    this.problem("");
    if (!this.#form.reportValidity()) return;
    if (this.files?.problem) return this.problem(this.files.problem);
    if (this.#areFilesComing) return this.#hold();
    if (this.#isBusy) return this.#queue(text);
    if (this.#isUndecided && !this.#edit) return this.problem(translate("chooseFirst"));
    const edit = this.#edit;
    // From here on the outbox has the text. It comes back if it is refused.
    this.#emit("send", { text, edit, later: this.#takeLater(), attachments: this.files?.take() });
    if (edit) this.endEdit();
    else if (text === this.#field.value) this.#set("");
    this.focus();
  }

  // Whether the answer may come later: chosen for each message.
  #takeLater() {
    const { later } = this.#form.elements;
    const isLater = Boolean(later?.checked && !later.disabled);
    if (isLater) later.checked = false;
    return isLater || undefined;
  }

  // Files are still being uploaded: the message waits in the field for them.
  #hold() {
    this.#isHeld = true;
    this.#showHeld(translate("heldUploading"));
    if (this.#pending.length) this.#loadFiles();
  }

  #cancelHold() {
    this.#isHeld = false;
    this.#showHeld("");
  }

  #sendHeld = () => {
    if (this.#areFilesComing || !this.#isHeld) return;
    this.#cancelHold();
    this.send();
  };

  #showHeld(text) {
    this.classList.toggle("is-held", Boolean(text));
    const line = this.querySelector(".held");
    line.textContent = text;
    line.hidden = !text;
  }

  // An answer is in progress: the message waits for its end. An edit cannot, because that may change the branch.
  #queue(text) {
    if (this.#edit) return this.problem(translate("busy"));
    this.#emit("queue", { text, later: this.#takeLater(), attachments: this.files?.take() });
    if (text === this.#field.value) this.#set("");
    this.focus();
  }

  #submitted = (event) => {
    event.preventDefault();
    const { submitter } = event;
    if (submitter?.hasAttribute("data-example")) this.fill(submitter.value);
    else this.send();
  };

  // Put a text into the field, such as an example, which people finish in their own words.
  fill(text) {
    this.#set(text);
    this.focus();
    this.#field.setSelectionRange(text.length, text.length);
  }

  #stopped = () => {
    this.#emit("stop");
    this.focus();
  };

  #cancelled = (event) => {
    event.preventDefault();
    this.endEdit();
    this.focus();
  };

  #pressed = (event) => {
    const isPlain = !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (event.key === "Enter") {
      const sends = event.ctrlKey || event.metaKey || (enterSends() ? isPlain : event.shiftKey);
      if (!sends) return;
      event.preventDefault();
      this.send();
    } else if (event.key === "ArrowUp" && isPlain && !this.#field.value && !this.#edit) {
      event.preventDefault();
      this.#emit("edit-last");
    }
  };

  // -- the field --------------------------------------------------------------------------------

  #changed = () => {
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(this.#keep, DRAFT_AFTER_MS);
    this.problem("");
    this.#cancelHold();
    this.#fit();
    this.#count();
  };

  #set(text) {
    this.#field.value = text;
    this.#fit();
    this.#count();
    this.#keep();
  }

  get #settingsBox() {
    return document.getElementById("new-settings");
  }

  #openSettings() {
    if (this.#settingsBox) this.#settingsBox.open = true;
  }

  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.blockSize = "auto";
    this.#field.style.blockSize = `${this.#field.scrollHeight}px`;
  }

  #count() {
    const counter = this.querySelector(".counter");
    const { value } = this.#field;
    this.classList.toggle("is-empty", !value.trim() && !this.#hasFiles);
    const left = value.length < config.maxChars * COUNTER_FROM ? Infinity : config.maxChars - lengthOf(value);
    counter.hidden = left > config.maxChars * (1 - COUNTER_FROM);
    counter.classList.toggle("danger", left < 0);
    counter.textContent = counter.hidden ? "" : translate(left < 0 ? "counterOver" : "counter", { left, over: -left });
    this.querySelector(".send").disabled = this.#isClosed || left < 0;
  }

  #clearProblem(text) {
    if (this.querySelector(".problem").textContent === text) this.problem("");
  }

  // -- drafts -----------------------------------------------------------------------------------

  #keep = () => {
    clearTimeout(this.#draftTimer);
    const key = draftKey(current.id || NEW);
    const text = this.#field.value;
    const { settings } = this;
    const attachments = this.files ? this.files.kept : keptDraft(key).attachments;
    const isEmpty = !text && !attachments?.length && !this.#edit?.aside && !this.#edit?.asideFiles?.length && !settings.system_prompt && settings.temperature === undefined;
    if (isEmpty) storage.remove(key);
    else storage.set(key, JSON.stringify({ text, attachments, edit: this.#edit, ...settings }));
  };

  #restoreDraft() {
    const { text = "", edit, attachments, ...settings } = keptDraft(draftKey(current.id || NEW));
    this.settings = settings;
    if (edit && document.getElementById(`m${edit.id}`)) {
      this.#field.value = edit.aside;
      this.beginEdit({ ...edit, text, attachments });
    } else {
      this.#field.value = text;
      this.#putFiles(attachments);
    }
  }

  #adoptServerEdit() {
    const { is_edit: isEdit, parent } = this.#form.elements;
    const id = /\/m\/(\d+)\/edit\/$/.exec(location.pathname)?.[1];
    if (!isEdit.value || !id) return;
    const text = this.#field.value;
    this.#field.value = "";
    history.replaceState(null, "", this.querySelector("[data-cancel]").href);
    const attachments = [...this.#form.querySelectorAll("[name=attachment]")].map((file) => ({ ...file.dataset }));
    this.beginEdit({ id: Number(id), parent: parent.value ? Number(parent.value) : null, text, attachments });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function draftKey(conversation) {
  return `chatsite.draft.${config.user}.${conversation}`;
}

function keptDraft(key) {
  return storage.json(key) ?? {};
}

// Number of code points, as the server counts.
function lengthOf(text) {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

customElements.define("chat-composer", ChatComposer);
