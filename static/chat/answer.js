// One answer while it is written: applies its events in order and draws them, a frame at a time.

import { announce, say } from "./config.js";
import { MarkdownStream } from "./markdown.js";

// The server waits for a page that is far behind, and has work with each acknowledgement: so they are rare
// while little is outstanding.
const ACK_EVERY_MS = 1_000;
const ACK_SOON_MS = 250;
const ACK_SOON_CHARS = 32 * 1024;
// A page that is hidden, or becomes so before its next frame, is given none; yet its answer goes on.
const FRAME_WITHIN_MS = 500;
const FOLLOW_AGAIN_MS = 1_000;

export class Answer {
  generation;
  #article;
  #socket;
  #onEnd;
  #seq;
  #text = "";
  #undrawn = "";
  #thinking = "";
  #prefix = "";
  #markdown;
  #model = "";
  #thoughtSince = 0;
  #frame = 0;
  #drawTimer = 0;
  #ackTimer = 0;
  #ackedSeq = 0;
  #unackedChars = 0;
  // While a drawing is due: the last event before it.
  #drawnSeq = 0;
  #countdown = 0;
  // The highest that came too early.
  #missedSeq = 0;
  #healTimer = 0;
  #isContinuing = false;
  #isOver = false;

  // `onEnd(answer, event)` is called once, after the last words are drawn.
  constructor(article, { socket, onEnd }) {
    const { generation, seq, prefixChars } = article.dataset;
    this.#article = article;
    this.#socket = socket;
    this.#onEnd = onEnd;
    this.generation = Number(generation);
    this.#seq = Number(seq ?? 0);
    this.#text = this.#body.textContent;
    this.#thinking = this.#thoughts.textContent;
    // The server counts characters, JavaScript counts halves of some.
    this.#prefix = [...this.#text].slice(0, Number(prefixChars ?? 0)).join("");
    this.#redraw();
    article.classList.add("is-active");
    if (this.#seq === 0 && !this.#status.textContent) this.#tell(say("queued"), "is-waiting");
    else if (this.#seq > 0) this.#writing(this.#text ? "delta" : "thinking");
    else this.#state.classList.add("is-waiting");
  }

  get article() {
    return this.#article;
  }

  get text() {
    return this.#text;
  }

  // Ask for what follows the last event that was applied.
  follow() {
    this.#socket.send({ type: "follow", generation: this.generation, after: this.#seq });
  }

  apply(event) {
    if (this.#isOver) return;
    if (event.type === "snapshot") return this.#snapshot(event);
    if (event.seq <= this.#seq) return;
    if (event.seq > this.#seq + 1) return this.#heal(event.seq);
    this.#seq = event.seq;
    clearInterval(this.#countdown);
    this.#handle(event);
    this.#unackedChars += event.text?.length ?? 0;
    this.#scheduleAck();
  }

  // Leave the article as it is; somebody else draws it from now on.
  drop() {
    this.#isOver = true;
    clearInterval(this.#countdown);
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#healTimer);
    this.#cancelDraw();
  }

  #handle(event) {
    // What is told comes after what was written before it.
    if (!("text" in event)) this.#draw();
    switch (event.type) {
      case "queued":
        return this.#tell(event.position ? say("queuedAt", event) : say("queued"), "is-waiting");
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
        return this.#schedule();
      case "delta":
        this.#isContinuing = false;
        this.#text += event.text;
        this.#undrawn += event.text;
        return this.#schedule();
      case "restarted":
        return this.#restarted();
      case "completed":
      case "stopped":
      case "failed":
      case "interrupted":
        return this.#ended(event);
      // What a newer server says besides is not needed to draw the answer.
    }
  }

  #started({ model }) {
    if (this.#model && model !== this.#model) this.#seam(say("switched", { model }));
    this.#model = model;
    if (!this.#isContinuing) this.#tell(say("waiting", { model }), "is-waiting");
  }

  #switched({ model, message }) {
    this.#seam(message);
    this.#model = model;
  }

  // The text stays; what follows goes on where it ends.
  #continued({ model, message }) {
    if (this.#model && model && model !== this.#model) this.#seam(say("switched", { model }));
    this.#model = model || this.#model;
    this.#isContinuing = true;
    this.#tell(message || say("continued"), "is-waiting");
    announce(this.#status.textContent);
  }

  #retrying(event) {
    const until = performance.now() + event.wait_s * 1000;
    // While a breaker is open no call is made, so none is counted.
    const words = event.code === "breaker_open" ? "retryingDown" : "retrying";
    const tick = () => {
      const seconds = Math.ceil((until - performance.now()) / 1000);
      this.#tell(say(seconds > 0 ? words : `${words}Now`, { ...event, seconds }), "is-retrying");
      if (seconds <= 0) clearInterval(this.#countdown);
    };
    tick();
    // Once: nobody wants to hear the seconds counted.
    announce(this.#status.textContent);
    this.#countdown = setInterval(tick, 500);
  }

  #restarted() {
    this.#seam(say("restarted"));
    this.#isContinuing = false;
    this.#text = this.#prefix;
    this.#thinking = "";
    this.#thoughtSince = 0;
    this.#redraw();
  }

  #snapshot(event) {
    if (event.seq < this.#seq) return;
    this.#seq = event.seq;
    this.#text = event.text;
    this.#thinking = event.thinking ?? "";
    this.#redraw();
    this.#scheduleAck();
    if (event.status !== "queued" && event.status !== "running") this.#ended({ ...event, type: event.status });
  }

  #ended(event) {
    this.drop();
    this.#markdown.end();
    this.#article.classList.remove("is-active", "is-writing");
    // Shown until the server's final article takes this one's place.
    this.#tell(event.message ?? "", event.type === "failed" ? "danger" : "");
    this.#socket.send({ type: "ack", generation: this.generation, seq: this.#seq });
    this.#onEnd(this, event);
  }

  // Once for a whole burst of events that came after a gap; again if it is still there, the burst over.
  #heal(seq) {
    this.#missedSeq = Math.max(this.#missedSeq, seq);
    if (this.#healTimer) return;
    this.follow();
    this.#healTimer = setTimeout(() => {
      this.#healTimer = 0;
      if (this.#seq < this.#missedSeq) this.#heal(this.#missedSeq);
    }, FOLLOW_AGAIN_MS);
  }

  // -- drawing ----------------------------------------------------------------------------------

  #schedule() {
    if (this.#drawTimer) return;
    this.#drawnSeq = this.#seq - 1;
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
    if (this.#thinking.length !== this.#thoughts.textContent.length) {
      this.#thoughts.textContent = this.#thinking;
      this.#thinkingBox.hidden = !this.#thinking;
      this.#thoughtSince ||= performance.now();
      if (!this.#text) this.#writing("thinking");
    }
    if (this.#undrawn) {
      this.#markdown.write(this.#undrawn);
      this.#undrawn = "";
      this.#writing("delta");
    }
  }

  #redraw() {
    this.#undrawn = "";
    this.#body.replaceChildren();
    this.#body.classList.remove("is-plain");
    this.#markdown = new MarkdownStream(this.#body);
    if (this.#text) this.#markdown.write(this.#text);
    this.#thoughts.textContent = this.#thinking;
    this.#thinkingBox.hidden = !this.#thinking;
    this.#article.classList.toggle("is-writing", Boolean(this.#text));
  }

  #writing(kind) {
    this.#article.classList.toggle("is-writing", kind === "delta");
    const summary = this.#thinkingBox.querySelector("summary");
    if (kind === "thinking") {
      summary.textContent = say("thinking");
      return this.#tell("", "");
    }
    if (this.#thoughtSince > 0) {
      const seconds = Math.max(1, Math.round((performance.now() - this.#thoughtSince) / 1000));
      summary.textContent = say("thought", { seconds });
      this.#thoughtSince = -1;
    }
    if (this.#status.textContent) this.#tell("", "");
  }

  #tell(text, kind) {
    this.#state.className = `state ${kind || "muted"}`;
    // Nobody writes while there is something to wait for.
    if (kind) this.#article.classList.remove("is-writing");
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  // A line that stays where the answer changed hands.
  #seam(text) {
    const line = document.createElement("p");
    line.className = "seam";
    line.textContent = text;
    this.#body.before(line);
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
      const seq = this.#drawTimer ? this.#drawnSeq : this.#seq;
      if (seq > this.#ackedSeq && this.#socket.send({ type: "ack", generation: this.generation, seq })) this.#ackedSeq = seq;
      if (this.#drawTimer) this.#scheduleAck();
    }, isSoon ? ACK_SOON_MS : ACK_EVERY_MS);
  }

  get #body() { return this.#article.querySelector(".streaming"); }
  get #state() { return this.#article.querySelector(".state"); }
  get #status() { return this.#article.querySelector(".status"); }
  get #thinkingBox() { return this.#article.querySelector(".thinking"); }
  get #thoughts() { return this.#article.querySelector(".thoughts"); }
}
