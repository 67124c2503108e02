// The messages: takes over answers in progress, shows what is asked here, and keeps up with the server.

import { Answer } from "./answer.js";
import { copyCode, copyMessage, dressCode } from "./clipboard.js";
import { announce, current, fragmentOf, request, say, url } from "./config.js";
import { OlderMessages } from "./older.js";
import { PendingAsks } from "./pending.js";
import { Scroller } from "./scroller.js";

// A change is nearly always at the end; the whole page is fetched only if these do not fit on.
const TAIL_MESSAGES = 4;
const PAGE_MESSAGES = 50;
const SYNC_AGAIN_MS = 5_000;
const ACK_EVERY_MS = 250;

// Tells: "ask" (regenerate, continue), "edit", "busy" (whether anything is being written), "ended-early", "not-now",
// "failure", and after each reading of the server's transcript "caught-up" or "gone".
class ChatTranscript extends HTMLElement {
  #socket = null;
  #pending = new PendingAsks(this);
  #scroller = null;
  #answers = new Map();
  // What the server says of a conversation before the latest change made here is out of date.
  #changes = 0;
  #syncing = null;
  #syncTimer = 0;
  #older = null;
  // Answers that are not on this page, though the socket follows them: the latest seq of each.
  #strays = new Map();
  #straysTimer = 0;

  connectedCallback() {
    this.addEventListener("click", this.#clicked);
    this.addEventListener("submit", this.#submitted);
  }

  disconnectedCallback() {
    this.removeEventListener("click", this.#clicked);
    this.removeEventListener("submit", this.#submitted);
    this.#older?.stop();
    clearTimeout(this.#syncTimer);
    clearTimeout(this.#straysTimer);
    for (const answer of this.#answers.values()) answer.drop();
    this.#answers.clear();
  }

  start(socket, latestLink) {
    this.#socket = socket;
    const box = this.closest(".scroller");
    this.#scroller = new Scroller(box, this, latestLink);
    // A link to one message wins over the newest.
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
      onShown: (articles) => articles.forEach((article) => this.#adopt(wrapped(article))),
      onFailure: (error) => this.#tellFailure(error),
    });
    this.#adopt(this);
    this.#older.watch();
  }

  // -- what runs --------------------------------------------------------------------------------

  get running() {
    return this.#answers.keys().next().value ?? null;
  }

  get isBusy() {
    return this.#answers.size > 0 || this.#pending.isAny;
  }

  isFollowing(generation) {
    return this.#answers.has(generation);
  }

  receive(event) {
    const answer = this.#answers.get(event.generation);
    if (answer) answer.apply(event);
    else this.#stray(event);
  }

  // Never acknowledged, they would fill the window of those that are drawn here.
  #stray({ generation, seq }) {
    this.#strays.set(generation, seq);
    this.#straysTimer ||= setTimeout(() => {
      this.#straysTimer = 0;
      for (const [stray, last] of this.#strays) this.#socket.send({ type: "ack", generation: stray, seq: last });
      this.#strays.clear();
    }, ACK_EVERY_MS);
  }

  // The socket is open (again): go on where the last event left us.
  resume() {
    for (const answer of this.#answers.values()) answer.follow();
  }

  // -- asking -----------------------------------------------------------------------------------

  // Show an ask that is not acknowledged yet.
  showPending(ask) {
    this.#pending.show(ask);
    this.tellPending(ask.client_id, this.#socket.isOpen ? "send" : "sendLater");
    this.#scroller.toEnd();
    this.#tellBusy();
  }

  tellPending(clientId, name) {
    this.#pending.tell(clientId, say(name));
  }

  refuse(clientId) {
    this.#pending.refuse(clientId);
    this.#tellBusy();
  }

  accept(frame) {
    const article = this.#pending.accept(frame, (gone) => this.#remove(gone));
    if (article) {
      this.#take(article);
      announce(say("answerStarted"));
    }
    this.#tellBusy();
    this.removeAttribute("data-earlier");
    this.sync();
  }

  // -- answers in progress ----------------------------------------------------------------------

  #adopt(root) {
    dressCode(root);
    for (const article of root.querySelectorAll(".message[data-generation]")) this.#take(article);
    this.#tellBusy();
  }

  #take(article) {
    const answer = new Answer(article, { socket: this.#socket, onEnd: (...ended) => this.#ended(...ended) });
    this.#answers.set(answer.generation, answer);
    if (article.dataset.fingerprint) answer.follow();
  }

  #ended(answer, event) {
    this.#answers.delete(answer.generation);
    const isWhole = event.type === "completed";
    announce(isWhole ? say("answerComplete") : say("answerEnded", { status: event.message || event.type }));
    if (event.type === "failed" || event.type === "interrupted") this.#tell("ended-early");
    this.#tellBusy();
    this.#finish(answer);
  }

  // Put the server's final article in the place of the one that was drawn here.
  async #finish({ article }) {
    try {
      const fresh = fragmentOf(await request(url.message(article.dataset.message))).querySelector("article");
      if (article.isConnected) this.#replace(article, fresh);
    } catch (error) {
      // Until then the text that was drawn here stays.
      this.#syncLater(error);
    }
  }

  #replace(article, fresh) {
    const hadFocus = article.contains(document.activeElement);
    const wasOpen = article.querySelector(".thinking")?.open;
    this.#answers.get(Number(article.dataset.generation))?.drop();
    this.#answers.delete(Number(article.dataset.generation));
    this.#scroller.keepPlaceOf(article, () => {
      article.replaceWith(fresh);
      if (wasOpen) fresh.querySelector(".thinking").open = true;
      this.#adopt(fresh.parentElement === this ? wrapped(fresh) : this);
      return fresh;
    });
    if (hadFocus) fresh.focus({ preventScroll: true });
  }

  #remove(article) {
    this.#answers.get(Number(article.dataset.generation))?.drop();
    this.#answers.delete(Number(article.dataset.generation));
    article.remove();
  }

  // -- keeping up with the server ---------------------------------------------------------------

  // Make this page's transcript what the server's is. Calls that come while one runs have it read again.
  sync(limit = TAIL_MESSAGES) {
    // Who reads far back is not thrown to the end by what happens there.
    if (!current.id || this.hasAttribute("data-earlier")) return Promise.resolve();
    clearTimeout(this.#syncTimer);
    this.#changes += 1;
    this.#syncing ??= this.#fetchAndReconcile(limit)
      .then(() => this.#tell("caught-up"))
      .catch((error) => (error.status === 404 ? this.#tell("gone") : this.#syncLater(error)))
      .finally(() => { this.#syncing = null; });
    return this.#syncing;
  }

  #syncLater(error) {
    this.#tellFailure(error);
    clearTimeout(this.#syncTimer);
    // Away from the server this is left to the socket's return.
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
        this.#adopt(wrapped(article));
      } else if (!this.#isSame(shown, article)) {
        this.#replace(shown, article);
      }
      last = this.#article(article.dataset.message);
    }
    this.#older.watch();
    this.#tellBusy();
  }

  #isSame(shown, fresh) {
    const { generation } = fresh.dataset;
    if (generation && shown.dataset.generation === generation && this.#answers.has(Number(generation))) return true;
    return shown.dataset.fingerprint === fresh.dataset.fingerprint;
  }

  // -- what people do ---------------------------------------------------------------------------

  #clicked = (event) => {
    const button = event.target.closest("[data-action], [data-older]");
    if (!button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const article = button.closest("article");
    if (button.dataset.older) event.preventDefault(), this.#older.load(button);
    else if (button.dataset.action === "copy") copyMessage(button, article);
    else if (button.dataset.action === "copy-code") copyCode(button);
    else if (button.dataset.action === "edit") event.preventDefault(), this.edit(article);
  };

  #submitted = (event) => {
    const button = event.submitter;
    const { action, messageId } = button?.dataset ?? {};
    if (!action) return;
    event.preventDefault();
    if (action === "select") this.#select(button);
    else this.#tell("ask", { [action]: Number(messageId) });
  };

  async #select(button) {
    const versions = button.closest(".versions");
    const place = button.closest("article").previousElementSibling?.id;
    const label = button.getAttribute("aria-label");
    versions.inert = true;
    try {
      await request(button.formAction, { method: "POST" });
      this.removeAttribute("data-earlier");
      this.#scroller.unpin();
      await this.sync(PAGE_MESSAGES);
      // The reader chose a version; the keyboard stays with the same arrow of the new one.
      const shown = (place ? document.getElementById(place) : this.querySelector(".older"))?.nextElementSibling ?? this.querySelector("article");
      const arrows = shown?.querySelector(".versions");
      (arrows?.querySelector(`[aria-label="${label}"]:enabled`) ?? arrows?.querySelector(":enabled"))?.focus({ preventScroll: true });
    } catch (error) {
      versions.inert = false;
      this.#tellFailure(error);
    }
  }

  edit(article = [...this.querySelectorAll(".question[data-message]")].at(-1)) {
    if (!article) return;
    if (this.isBusy) return this.#tell("not-now", { reason: say("busy") });
    const { message, parent } = article.dataset;
    const text = article.querySelector(".bubble").textContent;
    this.#tell("edit", { id: Number(message), parent: parent ? Number(parent) : null, text });
  }

  markEdited(id) {
    for (const article of this.querySelectorAll(".is-edited")) article.classList.remove("is-edited");
    if (id) this.#article(id)?.classList.add("is-edited");
  }

  // -- small things -----------------------------------------------------------------------------

  #article(id) {
    return this.querySelector(`:scope > #m${id}`);
  }

  #tellBusy() {
    this.#tell("busy", { isBusy: this.isBusy });
  }

  #tellFailure(error) {
    this.#tell("failure", { error });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// Lets querySelectorAll see the article itself as well as what is in it.
function wrapped(article) {
  return {
    querySelectorAll: (selector) => [...(article.matches(selector) ? [article] : []), ...article.querySelectorAll(selector)],
  };
}

customElements.define("chat-transcript", ChatTranscript);
