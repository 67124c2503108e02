// One answer in progress: applies its events in order and draws them, once per animation frame.

import { addCodeHeads } from "./blocks.js";
import { announce, translate } from "./config.js";
import { appendPlain, MarkdownStream } from "./markdown.js";

// The server pauses for a page that is far behind, and each acknowledgement costs it some work. So
// acknowledge rarely, except when much text is unacknowledged.
const ACK_EVERY_MS = 1_000;
const ACK_SOON_MS = 250;
const ACK_SOON_CHARS = 32 * 1024;
// Each drawing costs a layout and a paint. More than 20 a second read no better.
const DRAW_EVERY_MS = 50;
// A hidden page gets no animation frames, so draw after this time in any case.
const FRAME_WITHIN_MS = 500;
const FOLLOW_AGAIN_MS = 1_000;
const LOADING_SHOWN_AFTER_S = 5;
// A model that writes pauses for less.
const QUIET_AFTER_MS = 5_000;

export class Answer {
  generation;
  #article;
  #socket;
  #onEnd;
  #seq;
  #text = "";
  #undrawn = "";
  #thinking = "";
  #undrawnThinking = "";
  #prefix = "";
  #markdown;
  #model = "";
  #thoughtSince = 0;
  #frame = 0;
  #drawTimer = 0;
  #drawnAt = 0;
  #ackTimer = 0;
  #ackedSeq = 0;
  #unackedChars = 0;
  // While something is not drawn: the last event that is already drawn.
  #drawnSeq = 0;
  #countdown = 0;
  #quietTimer = 0;
  #quietSince = performance.now();
  #isQuiet = false;
  // The highest seq that arrived after a gap.
  #missedSeq = 0;
  #fetchTimer = 0;
  // Those that arrived and are not void.
  #images = [];
  #isContinuing = false;
  #isOver = false;

  // `onEnd(answer, event)` is called once, after the last text is drawn.
  constructor(article, { socket, onEnd }) {
    const { generation, seq, prefixChars } = article.dataset;
    this.#article = article;
    this.#socket = socket;
    this.#onEnd = onEnd;
    this.generation = Number(generation);
    this.#seq = Number(seq ?? 0);
    this.#text = this.#body.textContent;
    this.#thinking = this.#thoughts.textContent;
    // The server counts code points, JavaScript counts UTF-16 units.
    this.#prefix = [...this.#text].slice(0, Number(prefixChars ?? 0)).join("");
    this.#redraw();
    this.#quietTimer = setInterval(() => this.#noticeQuiet(), 1_000);
    article.classList.add("is-active");
    if (this.#seq === 0 && !this.#status.textContent) this.#showStatus(translate("queued"), "is-waiting");
    else if (this.#seq > 0) this.#showWriting(this.#text ? "delta" : "thinking");
    else this.#state.classList.add("is-waiting");
  }

  get article() {
    return this.#article;
  }

  get text() {
    return this.#text;
  }

  // Request the events after the last one that was applied.
  follow() {
    this.#socket.send({ type: "follow", generation: this.generation, after: this.#seq });
  }

  apply(event) {
    if (this.#isOver) return;
    if (event.type === "snapshot") return this.#snapshot(event);
    if (event.seq <= this.#seq) return;
    if (event.seq > this.#seq + 1) return this.#fetchMissed(event.seq);
    this.#seq = event.seq;
    clearInterval(this.#countdown);
    this.#handle(event);
    this.#unackedChars += event.text?.length ?? 0;
    this.#scheduleAck();
  }

  // Stop updating the article.
  detach() {
    this.#stop();
    this.#markdown.detach();
  }

  #stop() {
    this.#isOver = true;
    clearInterval(this.#countdown);
    clearInterval(this.#quietTimer);
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#fetchTimer);
    this.#cancelDraw();
  }

  #handle(event) {
    // Draw the text that came before a status event first.
    if (!("text" in event)) this.#draw();
    switch (event.type) {
      case "queued":
        return this.#showStatus(event.position ? translate("queuedAt", event) : translate("queued"), "is-waiting");
      case "started":
        return this.#started(event);
      case "retrying":
        return this.#retrying(event);
      case "switched":
        return this.#switched(event);
      case "continued":
        return this.#continued(event);
      case "thinking":
        this.#thinking += event.text;
        this.#undrawnThinking += event.text;
        return this.#schedule();
      case "delta":
        this.#isContinuing = false;
        this.#text += event.text;
        this.#undrawn += event.text;
        return this.#schedule();
      case "image":
        return this.#addImages([event]);
      case "restarted":
        return this.#restarted(event);
      case "completed":
      case "stopped":
      case "failed":
      case "interrupted":
        return this.#ended(event);
      // Unknown event types of a newer server are ignored.
    }
  }

  #started({ model }) {
    if (this.#model && model !== this.#model) this.#addNote(translate("switched", { model }));
    this.#model = model;
    if (this.#isContinuing) return;
    this.#showStatus(translate("waiting", { model }), "is-waiting");
    this.#countLoading(model);
  }

  // Say from some seconds on how long the model has been silent, and why it may be.
  #countLoading(model) {
    const since = performance.now();
    this.#countdown = setInterval(() => {
      const seconds = Math.floor((performance.now() - since) / 1000);
      if (seconds >= LOADING_SHOWN_AFTER_S) this.#showStatus(translate("loading", { model, seconds }), "is-waiting");
    }, 1000);
  }

  #switched({ model, message }) {
    this.#addNote(message);
    this.#model = model;
  }

  // The text stays, and the following deltas continue it.
  #continued({ model, message }) {
    if (this.#model && model && model !== this.#model) this.#addNote(translate("switched", { model }));
    this.#model = model || this.#model;
    this.#isContinuing = true;
    this.#showStatus(message || translate("continued"), "is-waiting");
    announce(this.#status.textContent);
  }

  #retrying(event) {
    const until = performance.now() + event.wait_s * 1000;
    // No call is made while the breaker is open, so there is no attempt to count.
    const name = event.code === "breaker_open" ? "retryingDown" : "retrying";
    const tick = () => {
      const seconds = Math.ceil((until - performance.now()) / 1000);
      this.#showStatus(translate(seconds > 0 ? name : `${name}Now`, { ...event, seconds }), "is-retrying");
      if (seconds <= 0) clearInterval(this.#countdown);
    };
    tick();
    // Announce it once, and not every second.
    announce(this.#status.textContent);
    this.#countdown = setInterval(tick, 500);
  }

  // With the reason "reasoning", the text so far comes again as thinking.
  #restarted({ reason }) {
    if (reason !== "reasoning") this.#addNote(translate("restarted"));
    this.#isContinuing = false;
    this.#text = this.#prefix;
    this.#thinking = "";
    this.#thoughtSince = 0;
    this.#clearImages();
    this.#redraw();
  }

  #snapshot(event) {
    if (event.seq < this.#seq) return;
    this.#seq = event.seq;
    this.#text = event.text;
    this.#thinking = event.thinking ?? "";
    this.#clearImages();
    this.#addImages(event.images ?? []);
    this.#redraw();
    this.#scheduleAck();
    if (event.status !== "queued" && event.status !== "running") this.#ended({ ...event, type: event.status });
  }

  #addImages(images) {
    if (!images.length) return;
    this.#images.push(...images);
    this.#showWriting("image");
    import("./pictures.js").then(({ showPicture }) => {
      for (const image of images) if (this.#images.includes(image)) showPicture(this.#pictures, image);
    });
  }

  #clearImages() {
    this.#images = [];
    this.#pictures.replaceChildren();
    this.#pictures.hidden = true;
  }

  #ended(event) {
    this.#stop();
    this.#markdown.end();
    this.#article.classList.remove("is-active", "is-writing");
    // Shown until the server's final article replaces this one.
    this.#showStatus(event.message ?? "", event.type === "failed" ? "danger" : "");
    this.#socket.send({ type: "ack", generation: this.generation, seq: this.#seq });
    this.#onEnd(this, event);
  }

  // Request missed events once for a burst of events after a gap, and again if the gap is still there later.
  #fetchMissed(seq) {
    this.#missedSeq = Math.max(this.#missedSeq, seq);
    if (this.#fetchTimer) return;
    this.follow();
    this.#fetchTimer = setTimeout(() => {
      this.#fetchTimer = 0;
      if (this.#seq < this.#missedSeq) this.#fetchMissed(this.#missedSeq);
    }, FOLLOW_AGAIN_MS);
  }

  // -- drawing ----------------------------------------------------------------------------------

  #schedule() {
    if (this.#drawTimer) return;
    if (this.#markdown.isDrawn) this.#drawnSeq = this.#seq - 1;
    const waitMs = this.#drawnAt + DRAW_EVERY_MS - performance.now();
    if (waitMs > 0) this.#drawTimer = setTimeout(() => this.#drawNext(), waitMs);
    else this.#drawNext();
  }

  #drawNext() {
    this.#frame = requestAnimationFrame(() => this.#draw());
    this.#drawTimer = setTimeout(() => this.#draw(), FRAME_WITHIN_MS);
  }

  #cancelDraw() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#drawTimer);
    this.#drawTimer = 0;
  }

  #draw() {
    this.#cancelDraw();
    this.#drawnAt = performance.now();
    if (this.#undrawnThinking) {
      appendPlain(this.#thoughts, this.#undrawnThinking);
      this.#undrawnThinking = "";
      this.#thinkingBox.hidden = false;
      this.#thoughtSince ||= performance.now();
      if (!this.#text) this.#showWriting("thinking");
    }
    if (this.#undrawn) {
      this.#markdown.write(this.#undrawn);
      this.#undrawn = "";
      this.#showWriting("delta");
    }
  }

  #redraw() {
    this.#undrawn = "";
    this.#undrawnThinking = "";
    this.#markdown?.detach();
    this.#markdown = new MarkdownStream(this.#body, () => addCodeHeads(this.#article));
    if (this.#text) this.#markdown.write(this.#text);
    this.#thoughts.replaceChildren();
    appendPlain(this.#thoughts, this.#thinking);
    this.#thinkingBox.hidden = !this.#thinking;
    this.#article.classList.toggle("is-writing", Boolean(this.#text));
  }

  // Text that stops coming looks like a page that hangs, so say how long it has been.
  #noticeQuiet() {
    const seconds = Math.round((performance.now() - this.#quietSince) / 1000);
    const hasStatus = this.#status.textContent !== "" && !this.#isQuiet;
    if (hasStatus || seconds * 1000 < QUIET_AFTER_MS || !this.#socket.isOpen) return;
    this.#showStatus(translate("quiet", { seconds }), "is-waiting");
    this.#isQuiet = true;
  }

  #showWriting(kind) {
    this.#quietSince = performance.now();
    this.#article.classList.toggle("is-writing", kind === "delta");
    const summary = this.#thinkingBox.querySelector("summary");
    if (kind === "thinking") {
      summary.textContent = translate("thinking");
      return this.#showStatus("", "");
    }
    if (this.#thoughtSince > 0) {
      const seconds = Math.max(1, Math.round((performance.now() - this.#thoughtSince) / 1000));
      summary.textContent = translate("thought", { seconds });
      this.#thoughtSince = -1;
    }
    if (this.#status.textContent) this.#showStatus("", "");
  }

  #showStatus(text, kind) {
    this.#isQuiet = false;
    this.#state.className = `state ${kind || "muted"}`;
    // No caret while the answer is waiting for something.
    if (kind) this.#article.classList.remove("is-writing");
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  // Add a permanent line above the text, such as a change of the model.
  #addNote(text) {
    const note = document.createElement("p");
    note.className = "answer-note";
    note.textContent = text;
    this.#body.before(note);
    announce(text);
  }

  #scheduleAck() {
    const isSoon = this.#unackedChars > ACK_SOON_CHARS;
    if (this.#ackTimer && !isSoon) return;
    if (isSoon) this.#unackedChars = 0;
    clearTimeout(this.#ackTimer);
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = 0;
      this.#unackedChars = 0;
      const isDrawn = !this.#drawTimer && this.#markdown.isDrawn;
      const seq = isDrawn ? this.#seq : this.#drawnSeq;
      if (seq > this.#ackedSeq && this.#socket.send({ type: "ack", generation: this.generation, seq })) this.#ackedSeq = seq;
      if (!isDrawn) this.#scheduleAck();
    }, isSoon ? ACK_SOON_MS : ACK_EVERY_MS);
  }

  get #body() { return this.#article.querySelector(".streaming"); }
  get #pictures() { return this.#article.querySelector(".pictures"); }
  get #state() { return this.#article.querySelector(".state"); }
  get #status() { return this.#article.querySelector(".status"); }
  get #thinkingBox() { return this.#article.querySelector(".thinking"); }
  get #thoughts() { return this.#article.querySelector(".thoughts"); }
}
