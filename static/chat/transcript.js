// The messages: follows answers in progress, shows sent messages, and stays in sync with the server.

import { Answer } from "./answer.js";
import { addTools, useTool } from "./blocks.js";
import { copyFormulas, copyMessage } from "./clipboard.js";
import { announce, current, fragmentOf, request, translate, url, wrapped } from "./config.js";
import { isInPlace, PendingAsks } from "./pending.js";
import { OlderMessages, Scroller } from "./scroller.js";

// Nearly every change is at the end. The whole page is fetched only if these few messages are not enough.
const TAIL_MESSAGES = 4;
const PAGE_MESSAGES = 50;
const SYNC_AGAIN_MS = 5_000;
const ACK_EVERY_MS = 250;

// Events: "ask" (regenerate, continue), "edit", "busy" (whether an answer is in progress), "ended-early",
// "edit-refused", "chosen", "failure", and after each synchronization with the server "caught-up" or "gone".
class ChatTranscript extends HTMLElement {
  #socket = null;
  #pending = new PendingAsks(this);
  #scroller = null;
  #answers = new Map();
  // Number of requested synchronizations: a response that is older than the latest request is discarded.
  #changes = 0;
  #syncing = null;
  #lastEnded = 0;
  #syncTimer = 0;
  #older = null;
  // Answers that the socket follows but the page does not show: the latest seq of each.
  #strays = new Map();
  #straysTimer = 0;
  #layout = new MutationObserver(() => this.classList.toggle("has-compared", [...this.children].some(({ dataset }) => "compared" in dataset)));

  connectedCallback() {
    this.addEventListener("click", this.#clicked);
    this.addEventListener("submit", this.#submitted);
    this.addEventListener("copy", copyFormulas);
    // A class, because a rule with :has() would be matched against all messages for each of them.
    this.#layout.observe(this, { childList: true });
  }

  disconnectedCallback() {
    this.#layout.disconnect();
    this.removeEventListener("click", this.#clicked);
    this.removeEventListener("submit", this.#submitted);
    this.#older?.stop();
    removeEventListener("beforeprint", this.#completed);
    clearTimeout(this.#syncTimer);
    clearTimeout(this.#straysTimer);
    for (const answer of this.#answers.values()) answer.detach();
    this.#answers.clear();
  }

  start(socket, latestLink) {
    this.#socket = socket;
    const box = this.closest(".scroller");
    this.#scroller = new Scroller(box, this, latestLink);
    // A link to one message takes precedence over the newest message.
    const target = location.hash.startsWith("#m") && this.querySelector(location.hash);
    if (target) {
      this.#scroller.unpin();
      target.scrollIntoView();
    } else {
      this.#scroller.toEnd();
    }
    this.#older = new OlderMessages(this, {
      box,
      scroller: this.#scroller,
      onShown: (articles) => articles.forEach((article) => this.#activate(wrapped(article), true)),
      onFailure: (error) => this.#emitFailure(error),
    });
    this.#activate(this, true);
    this.#older.watch();
    addEventListener("beforeprint", this.#completed);
  }

  // -- state ------------------------------------------------------------------------------------

  get running() {
    return [...this.#answers.keys()];
  }

  // Whether the user has to choose one of the answers at the end.
  get isUndecided() {
    return this.lastElementChild?.dataset.compared !== undefined;
  }

  get isBusy() {
    return this.#answers.size > 0 || this.#pending.isAny;
  }

  // Whether the page shows this answer, or has just shown its end.
  isFollowing(generation) {
    return this.#answers.has(generation) || generation === this.#lastEnded;
  }

  receive(event) {
    const answer = this.#answers.get(event.generation);
    if (answer) answer.apply(event);
    else this.#acknowledgeStray(event);
  }

  // Without acknowledgements they would use up the window of the answers that are shown.
  #acknowledgeStray({ generation, seq }) {
    this.#strays.set(generation, seq);
    this.#straysTimer ||= setTimeout(() => {
      this.#straysTimer = 0;
      for (const [stray, last] of this.#strays) this.#socket.send({ type: "ack", generation: stray, seq: last });
      this.#strays.clear();
    }, ACK_EVERY_MS);
  }

  // The socket is open (again): continue after the last applied events.
  resume() {
    for (const answer of this.#answers.values()) answer.follow();
  }

  // -- sending ----------------------------------------------------------------------------------

  // Show a message that is not acknowledged yet.
  showPending(ask) {
    this.#pending.show(ask);
    this.showPendingState(ask.client_id, this.#socket.isOpen ? "send" : "sendLater");
    this.#scroller.toEnd();
    this.#emitBusy();
  }

  showPendingState(clientId, name) {
    this.#pending.showState(clientId, translate(name));
  }

  showEnd() {
    this.#scroller.toEnd();
  }

  refuse(clientId) {
    this.#pending.refuse(clientId);
    this.#emitBusy();
  }

  accept(frame) {
    const isEarlier = this.hasAttribute("data-earlier");
    const replaced = [];
    const article = this.#pending.accept(frame, (gone) => replaced.push(gone));
    replaced.forEach((gone) => this.#remove(gone));
    if (article && frame.later) {
      delete article.dataset.generation;
      this.#finish({ article }); // there is nothing to follow: the server's article says what it waits for
      announce(translate("answerLater"));
    } else if (article) {
      this.#attach(article);
      announce(translate("answerStarted"));
    }
    this.#emitBusy();
    this.removeAttribute("data-earlier");
    // A running synchronization may have read the conversation before this message was in it.
    this.#changes += 1;
    if (isEarlier || replaced.length || !isInPlace(article, frame)) this.sync();
  }

  // -- answers in progress ----------------------------------------------------------------------

  #activate(root, isOpened = false) {
    addTools(root, isOpened);
    for (const article of root.querySelectorAll(".message[data-generation]")) this.#attach(article);
    this.#emitBusy();
  }

  #attach(article) {
    const answer = new Answer(article, { socket: this.#socket, onEnd: (...ended) => this.#ended(...ended) });
    this.#answers.set(answer.generation, answer);
    if (article.dataset.fingerprint) answer.follow();
  }

  #ended(answer, event) {
    this.#answers.delete(answer.generation);
    this.#lastEnded = answer.generation;
    if (event.type === "completed") announce(translate("answerComplete"));
    else if (event.type === "stopped") announce(translate("answerStopped"));
    else announce(translate("answerEnded", { status: event.message || event.type }));
    if (event.type === "failed" || event.type === "interrupted") this.#emit("ended-early");
    this.#emitBusy();
    this.#finish(answer);
  }

  // Replace the article that was drawn here by the server's final one. If the socket closes before that comes,
  // the synchronization with the next one brings it.
  #finish({ article }) {
    const message = Number(article.dataset.message);
    if (!this.#socket.send({ type: "read", message })) this.#fetchFinal(article);
  }

  showFinal({ message, html }) {
    const article = this.#article(message);
    if (!article) return;
    if (html) this.#replace(article, fragmentOf(html).querySelector("article"));
    else this.#fetchFinal(article); // too long for a frame
  }

  async #fetchFinal(article) {
    try {
      const fresh = fragmentOf(await request(url.message(article.dataset.message))).querySelector("article");
      if (article.isConnected) this.#replace(article, fresh);
    } catch (error) {
      this.#syncLater(error);
    }
  }

  #replace(article, fresh) {
    const hadFocus = article.contains(document.activeElement);
    const wasOpen = article.querySelector(".thinking")?.open;
    this.#answers.get(Number(article.dataset.generation))?.detach();
    this.#answers.delete(Number(article.dataset.generation));
    this.#scroller.keepPlaceOf(article, () => {
      article.replaceWith(fresh);
      if (wasOpen) fresh.querySelector(".thinking").open = true;
      this.#activate(fresh.parentElement === this ? wrapped(fresh) : this);
      return fresh;
    });
    if (hadFocus) fresh.focus({ preventScroll: true });
  }

  #remove(article) {
    this.#answers.get(Number(article.dataset.generation))?.detach();
    this.#answers.delete(Number(article.dataset.generation));
    article.remove();
  }

  // -- synchronization with the server ----------------------------------------------------------

  // Make the transcript equal to the server's. A call during a running synchronization makes it fetch again.
  sync(limit = TAIL_MESSAGES) {
    // A page of earlier messages stays as it is.
    if (!current.id || this.hasAttribute("data-earlier")) return Promise.resolve();
    clearTimeout(this.#syncTimer);
    this.#changes += 1;
    this.#syncing ??= this.#fetchAndReconcile(limit)
      .then(() => this.#emit("caught-up"))
      .catch((error) => (error.status === 404 ? this.#emit("gone") : this.#syncLater(error)))
      .finally(() => { this.#syncing = null; });
    return this.#syncing;
  }

  #syncLater(error) {
    this.#emitFailure(error);
    clearTimeout(this.#syncTimer);
    // Without a connection, the page synchronizes when the socket is back.
    if (this.#socket.isOpen) this.#syncTimer = setTimeout(() => this.sync(PAGE_MESSAGES), SYNC_AGAIN_MS);
  }

  async #fetchAndReconcile(limit) {
    for (;;) {
      const [changes, id] = [this.#changes, current.id];
      const fragment = fragmentOf(await request(url.transcript(id, limit)));
      if (changes !== this.#changes || id !== current.id) continue;
      const fresh = [...fragment.querySelectorAll("article")];
      if (limit < PAGE_MESSAGES && fresh.length && !this.#article(fresh[0].dataset.message)) {
        limit = PAGE_MESSAGES;
        continue;
      }
      return this.#reconcile(fresh, fragment.querySelector(".older"));
    }
  }

  #reconcile(fresh, older) {
    const ids = new Set(fresh.map((article) => article.id));
    const anchor = fresh.length ? this.#article(fresh[0].dataset.message) : null;
    const known = [...this.querySelectorAll("article[data-message]:not([data-ask])")];
    const from = anchor ? known.indexOf(anchor) : 0;
    for (const article of known.slice(from)) if (!ids.has(article.id)) this.#remove(article);
    if (!anchor) {
      this.querySelector(".older")?.remove();
      if (older) this.prepend(older);
    }
    let last = anchor?.previousElementSibling ?? this.querySelector(".older");
    for (const article of fresh) {
      const shown = this.#article(article.dataset.message);
      if (!shown) {
        if (last) last.after(article);
        else this.prepend(article);
        this.#activate(wrapped(article));
      } else if (!this.#isSame(shown, article)) {
        this.#replace(shown, article);
      }
      last = this.#article(article.dataset.message);
    }
    this.#older.watch();
    this.#emitBusy();
  }

  #isSame(shown, fresh) {
    const { generation } = fresh.dataset;
    if (shown.dataset.compared !== fresh.dataset.compared) return false;
    if (generation && shown.dataset.generation === generation && this.#answers.has(Number(generation))) return true;
    return shown.dataset.fingerprint === fresh.dataset.fingerprint;
  }

  // -- user actions -----------------------------------------------------------------------------

  #clicked = (event) => {
    const given = event.target.closest("a[data-given]");
    if (given) import("./feedback.js").then(({ noteAsked }) => noteAsked(given)).catch((error) => this.#emitFailure(error));
    const button = event.target.closest("[data-action], [data-older]");
    if (!button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const article = button.closest("article");
    if (button.dataset.older) event.preventDefault(), this.#older.load(button);
    else if (button.dataset.action === "copy") copyMessage(button, article);
    else if (button.dataset.action === "edit") event.preventDefault(), this.edit(article);
    else if (button.dataset.action === "again-with") this.#againWith(button);
    else useTool(button);
  };

  #submitted = (event) => {
    const button = event.submitter;
    const { action, messageId } = button?.dataset ?? {};
    if (!action) return;
    // By form if there is no socket.
    if (action === "cancel" && !this.#socket.send({ type: "stop", generation: Number(button.dataset.generation) })) return;
    event.preventDefault();
    if (action === "cancel") return void (button.disabled = true);
    if (action === "select") this.#select(button);
    else if (action === "choose") this.#choose(button);
    else if (action === "rate" || action === "bookmark") import("./feedback.js").then((feedback) => feedback[action](button)).catch((error) => this.#emitFailure(error));
    else this.#emit("ask", { [action]: Number(messageId) });
  };

  async #againWith(button) {
    const items = [...document.querySelectorAll("#models .model")].map((row) => ({
      label: row.querySelector(".model-name").textContent,
      act: () => this.#emit("ask", { regenerate: Number(button.dataset.messageId), model: Number(row.querySelector("input").value) }),
    }));
    try {
      const { openMenu } = await import("./menu.js");
      openMenu({ place: button.closest(".actions"), label: translate("againWith"), items, opener: button });
    } catch (error) {
      this.#emitFailure(error);
    }
  }

  async #choose(button) {
    const body = new FormData(button.form, button);
    button.form.inert = true;
    try {
      await request(button.formAction, { method: "POST", body });
      await this.sync();
      this.#emit("chosen");
    } catch (error) {
      button.form.inert = false;
      this.#emitFailure(error);
    }
  }

  async #select(button) {
    const versions = button.closest(".versions");
    const place = button.closest("article").previousElementSibling?.id;
    const label = button.ariaLabel;
    versions.inert = true;
    try {
      await request(button.formAction, { method: "POST" });
      this.removeAttribute("data-earlier");
      this.#scroller.unpin();
      await this.sync(PAGE_MESSAGES);
      // Keep the focus on the same arrow in the new version.
      const shown = (place ? document.getElementById(place) : this.querySelector(".older"))?.nextElementSibling ?? this.querySelector("article");
      const arrows = shown?.querySelector(".versions");
      (arrows?.querySelector(`[aria-label="${label}"]:enabled`) ?? arrows?.querySelector(":enabled"))?.focus({ preventScroll: true });
    } catch (error) {
      versions.inert = false;
      this.#emitFailure(error);
    }
  }

  edit(article = [...this.querySelectorAll(".question[data-message]")].at(-1)) {
    if (!article) return;
    if (this.isBusy) return this.#emit("edit-refused", { reason: translate("busy") });
    const { message, parent } = article.dataset;
    const text = article.querySelector(".bubble").textContent;
    const attachments = [...article.querySelectorAll(".files > li")].map((file) => ({ ...file.dataset }));
    this.#emit("edit", { id: Number(message), parent: parent ? Number(parent) : null, text, attachments });
  }

  markEdited(id) {
    for (const article of this.querySelectorAll(".is-edited")) article.classList.remove("is-edited");
    if (id) this.#article(id)?.classList.add("is-edited");
  }

  // Paper shows the whole conversation, as far as it can be loaded.
  #completed = () => {
    try {
      this.#older.loadAllNow();
    } catch (error) {
      this.#emitFailure(error);
    }
  };

  #article(id) {
    return this.querySelector(`:scope > #m${id}`);
  }

  #emitBusy() {
    const hasFailed = this.querySelector(":scope > article:last-of-type .footer > .state.notice") !== null;
    this.#emit("busy", { isBusy: this.isBusy, isUndecided: this.isUndecided, hasFailed });
  }

  #emitFailure(error) {
    this.#emit("failure", { error });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

customElements.define("chat-transcript", ChatTranscript);
