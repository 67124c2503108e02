// Where people write: grows with the text, keeps drafts, knows when Enter sends and when it does not.

import { config, current, say, storage } from "./config.js";
import { enterSends } from "./preferences.js";

const DRAFT_AFTER_MS = 200;
const COUNTER_FROM = 0.9;
const NEW = "new";

// Tells: "send" {text, edit?}, "stop", "edit-last", "edited" {id or null}.
class ChatComposer extends HTMLElement {
  #form;
  #field;
  #draftTimer = 0;
  // The message whose next version is being written, with what was in the field before.
  #edit = null;
  #isBusy = false;
  #isClosed = false;

  connectedCallback() {
    this.#form = this.querySelector("form");
    this.#field = this.querySelector("textarea");
    this.#form.addEventListener("submit", this.#submitted);
    this.#field.addEventListener("keydown", this.#pressed);
    this.#field.addEventListener("input", this.#changed);
    this.querySelector(".stop").addEventListener("click", this.#stopped);
    this.querySelector("[data-cancel]").addEventListener("click", this.#cancelled);
    addEventListener("pagehide", this.#keep);
  }

  disconnectedCallback() {
    this.#keep();
    removeEventListener("pagehide", this.#keep);
  }

  start() {
    // What the server put back after a refusal is newer than any draft.
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

  setBusy(isBusy, isRunning) {
    this.#isBusy = isBusy;
    this.classList.toggle("is-running", isRunning);
    if (!isBusy) this.#clearProblem(say("busy"));
  }

  close(isClosed) {
    this.#isClosed = isClosed;
    this.querySelector(".send").disabled = isClosed;
  }

  // A new conversation got its address: its draft moves along.
  moved() {
    storage.remove(draftKey(NEW));
    this.#form.elements.conversation.value = current.id;
    this.querySelector("[data-cancel]").href = location.pathname;
    this.#keep();
  }

  // Text that was not taken comes back, before whatever was written since, with the reason.
  giveBack(text, reason) {
    const { value } = this.#field;
    if (text && !value.includes(text)) this.#set(value.trim() ? `${text}\n\n${value}` : text);
    this.problem(reason);
    this.focus();
  }

  problem(text) {
    const line = this.querySelector(".problem");
    line.textContent = text;
    line.hidden = !text;
  }

  beginEdit({ id, parent, text }) {
    this.#edit = { id, parent, aside: this.#edit ? this.#edit.aside : this.#field.value };
    this.querySelector(".editing").hidden = false;
    this.problem("");
    this.#set(text);
    this.focus();
    this.#field.setSelectionRange(text.length, text.length);
    this.#tell("edited", { id });
  }

  endEdit() {
    if (!this.#edit) return;
    const { aside } = this.#edit;
    this.#edit = null;
    this.querySelector(".editing").hidden = true;
    this.#set(aside);
    this.#tell("edited", { id: null });
  }

  // -- sending ----------------------------------------------------------------------------------

  send(text = this.#field.value) {
    if (this.#isClosed || !text.trim()) return;
    if (this.#isBusy) return this.problem(say("busy"));
    const length = lengthOf(text);
    if (length > config.maxChars) return this.problem(say("tooLong", { length, limit: config.maxChars }));
    this.problem("");
    const edit = this.#edit;
    // The outbox has the text from here on; it comes back if it is refused.
    this.#tell("send", { text, edit });
    if (edit) this.endEdit();
    else if (text === this.#field.value) this.#set("");
    this.focus();
  }

  #submitted = (event) => {
    event.preventDefault();
    const { submitter } = event;
    this.send(submitter?.hasAttribute("data-example") ? submitter.value : undefined);
  };

  #stopped = () => {
    this.#tell("stop");
    this.focus();
  };

  #cancelled = (event) => {
    event.preventDefault();
    this.endEdit();
    this.focus();
  };

  #pressed = (event) => {
    // Enter that ends an IME's composition is not meant for us; 229 is how Safari says so.
    if (event.isComposing || event.keyCode === 229) return;
    const isPlain = !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (event.key === "Enter") {
      const sends = event.ctrlKey || event.metaKey || (enterSends() ? isPlain : event.shiftKey);
      if (!sends) return;
      event.preventDefault();
      this.send();
    } else if (event.key === "ArrowUp" && isPlain && !this.#field.value && !this.#edit) {
      event.preventDefault();
      this.#tell("edit-last");
    }
  };

  // -- the field --------------------------------------------------------------------------------

  #changed = () => {
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(this.#keep, DRAFT_AFTER_MS);
    this.problem("");
    this.#fit();
    this.#count();
  };

  #set(text) {
    this.#field.value = text;
    this.#fit();
    this.#count();
    this.#keep();
  }

  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.blockSize = "auto";
    this.#field.style.blockSize = `${this.#field.scrollHeight}px`;
  }

  #count() {
    const counter = this.querySelector(".counter");
    const { value } = this.#field;
    const left = value.length < config.maxChars * COUNTER_FROM ? Infinity : config.maxChars - lengthOf(value);
    counter.hidden = left > config.maxChars * (1 - COUNTER_FROM);
    counter.classList.toggle("danger", left < 0);
    counter.textContent = counter.hidden ? "" : say("counter", { left });
  }

  #clearProblem(text) {
    if (this.querySelector(".problem").textContent === text) this.problem("");
  }

  // -- drafts -----------------------------------------------------------------------------------

  #keep = () => {
    clearTimeout(this.#draftTimer);
    const key = draftKey(current.id || NEW);
    const text = this.#field.value;
    if (text || this.#edit?.aside) storage.set(key, JSON.stringify({ text, edit: this.#edit }));
    else storage.remove(key);
  };

  #restoreDraft() {
    const kept = storage.get(draftKey(current.id || NEW));
    if (!kept) return;
    const { text, edit } = JSON.parse(kept);
    if (edit && document.getElementById(`m${edit.id}`)) {
      this.#field.value = edit.aside;
      this.beginEdit({ ...edit, text });
    } else {
      this.#field.value = text;
    }
  }

  #adoptServerEdit() {
    const { is_edit: isEdit, parent } = this.#form.elements;
    const id = /\/m\/(\d+)\/edit\/$/.exec(location.pathname)?.[1];
    if (!isEdit.value || !id) return;
    const text = this.#field.value;
    this.#field.value = "";
    history.replaceState(null, "", this.querySelector("[data-cancel]").href);
    this.beginEdit({ id: Number(id), parent: parent.value ? Number(parent.value) : null, text });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function draftKey(conversation) {
  return `chatsite.draft.${config.user}.${conversation}`;
}

// As the server counts: characters, not halves of them.
function lengthOf(text) {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

customElements.define("chat-composer", ChatComposer);
