// Messages that were sent while an answer is in progress. They are shown below it and sent when it is complete, one
// after the other. Local storage keeps them, so that a reload loses none.

import { announce, config, current, randomId, storage, tab, translate } from "./config.js";

const PREFIX = `chatsite.queued.${config.user}.`;

export class Queue {
  #box;
  #sendNow;
  #edit;
  #state = { isBusy: true };
  // Why nothing is sent by itself until the user says so; "" otherwise.
  #reason = "";
  #shown = "";

  // `onSend(ask)` sends a message, `onEdit(ask)` puts one back into the message field.
  constructor(box, { onSend, onEdit }) {
    this.#box = box;
    this.#sendNow = onSend;
    this.#edit = onEdit;
    box.addEventListener("click", (event) => this.#clicked(event.target.closest("[data-queued]")));
    // Another tab sent, removed or added one.
    addEventListener("storage", ({ key }) => key?.startsWith(PREFIX) && this.#show());
  }

  get isAny() {
    return this.#items().length > 0;
  }

  add(ask) {
    const item = { ...ask, id: randomId(), conversation: current.id, tab, at: Date.now() };
    storage.set(PREFIX + item.id, JSON.stringify(item));
    this.#reason = "";
    this.#show();
    announce(translate("queuedUp"));
  }

  // The transcript changed: send the next message if it can be answered now.
  update(state) {
    this.#state = state;
    if (state.hasFailed && !state.isBusy) this.#reason ||= translate("notSent");
    this.#show();
    // After the transcript has finished its current update.
    if (!state.isBusy) queueMicrotask(() => this.#sendNext());
  }

  // Send nothing by itself any more, for this reason.
  hold(reason) {
    if (!this.isAny) return;
    this.#reason = reason;
    this.#show();
    announce(reason);
  }

  // The new conversation has an id now.
  created(id) {
    for (const item of this.#items("")) storage.set(PREFIX + item.id, JSON.stringify({ ...item, conversation: id }));
    this.#show();
  }

  // Put the last one back into the message field. Return whether there is one.
  editLast() {
    const last = this.#items().at(-1);
    if (last) this.#take(last), this.#edit(last);
    return Boolean(last);
  }

  #sendNext() {
    const next = this.#items().find((item) => item.tab === tab);
    if (!next || this.#reason || this.#state.isBusy || this.#state.isUndecided) return;
    this.#send(next);
  }

  #send(item) {
    this.#take(item);
    // The same client id: a tab that sends it, too, sends the same message.
    const { text, model, compare, later, attachments } = item;
    this.#sendNow({ text, model, compare, later, attachments, client_id: item.id });
  }

  #take(item) {
    storage.remove(PREFIX + item.id);
    this.#show();
  }

  #clicked(button) {
    const id = button?.closest("article").dataset.id;
    const item = this.#items().find((each) => each.id === id);
    if (!item) return;
    const { queued: action } = button.dataset;
    if (action === "send") {
      this.#reason = "";
      this.#send(item);
    } else {
      this.#take(item);
      if (action === "edit") this.#edit(item);
      else document.getElementById("text").focus({ preventScroll: true });
    }
  }

  #items(conversation = current.id) {
    const own = storage.keys().filter((key) => key.startsWith(PREFIX)).map(storage.json).filter(Boolean);
    return own.filter((item) => item.conversation === conversation && (conversation || item.tab === tab)).sort((a, b) => a.at - b.at);
  }

  #show() {
    const items = this.#items();
    const shown = JSON.stringify([items, this.#state, this.#reason]);
    // Drawn again only for a change: the focus may be on one of its buttons.
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#box.hidden = items.length === 0;
    this.#box.replaceChildren(...items.map((item) => this.#article(item)));
  }

  #article(item) {
    const article = document.getElementById("queued-template").content.querySelector("article").cloneNode(true);
    const isWaiting = item.tab === tab && !this.#reason && (this.#state.isBusy || this.#state.isUndecided);
    article.dataset.id = item.id;
    article.querySelector(".bubble").textContent = [item.text, ...(item.attachments ?? []).map(({ name }) => name ?? "")].join("\n").trim();
    article.querySelector(".status").textContent = this.#statusOf(item);
    article.querySelector("[data-queued=send]").hidden = isWaiting || this.#state.isBusy;
    return article;
  }

  #statusOf(item) {
    if (item.tab !== tab) return translate("queuedElsewhere");
    if (this.#reason) return this.#reason;
    return translate(this.#state.isUndecided && !this.#state.isBusy ? "queuedForChoice" : "queuedForAnswer");
  }
}
