// One socket a page, which comes back by itself. Tells: "open", "closed", "frame".

import { VERSION } from "./config.js";

// A dead connection is noticed within the sum of these two, and at once where a sign of it is given.
const PING_AFTER_MS = 15_000;
const DEAD_AFTER_MS = 10_000;
// Back in front or on another network: whoever looks at the page should not wait for the above.
const PROBE_MS = 4_000;
// On a net that works an attempt takes less.
const STALE_MS = 1_000;
const BACKOFF_MS = 500;
const BACKOFF_CAP_MS = 15_000;
// How a server that stops sends everybody away at the same moment.
const RESTARTING = 1012;
const RESTART_SPREAD_MS = 1_000;
// These must arrive, so silence after one is a reason to look.
const URGENT = new Set(["ask", "stop"]);

export class Socket extends EventTarget {
  #address;
  #socket = null;
  #tries = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #deathTimer = 0;
  #deadAt = Infinity;
  #begunAt = 0;
  #heardAt = 0;
  #isEnded = false;

  constructor(address) {
    super();
    this.#address = address;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  start() {
    addEventListener("online", this.#wake);
    addEventListener("offline", this.#wake);
    addEventListener("pageshow", this.#wake);
    addEventListener("pagehide", this.#rest);
    document.addEventListener("visibilitychange", this.#wake);
    this.#connect();
  }

  // No more attempts: the page is too old, or nobody is signed in.
  end() {
    this.#isEnded = true;
    this.#drop();
  }

  // True if the frame was handed to an open socket; whether it arrived, an answer tells.
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify({ v: VERSION, ...frame }));
    if (URGENT.has(frame.type)) this.ping();
    return true;
  }

  // Frames are handled one after the other: the pong tells that all before it have been.
  ping(waitMs = DEAD_AFTER_MS) {
    if (this.send({ type: "ping" })) this.#expectLife(waitMs);
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    if (this.#isEnded || this.#socket) return;
    const socket = new WebSocket(this.#address);
    this.#begunAt = performance.now();
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (message) => this.#heard(message.data);
    socket.onclose = (event) => this.#closed(socket, event.code);
    // A connection attempt that hangs is as bad as one that fails.
    this.#expectLife(DEAD_AFTER_MS);
  }

  #opened() {
    this.#alive();
    this.#pingInSilence(PING_AFTER_MS);
    this.dispatchEvent(new Event("open"));
  }

  #heard(data) {
    // Not when it opens: a server that accepts everybody and drops them is no better than none.
    this.#tries = 0;
    this.#alive();
    this.dispatchEvent(new CustomEvent("frame", { detail: JSON.parse(data) }));
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#drop();
    if (this.#isEnded) return;
    this.#tries += 1;
    // Full jitter, so that a server that comes back is not met by everybody at once.
    this.#retryTimer = setTimeout(() => this.#connect(), 100 + Math.random() * this.#ceilingMs(code));
    this.dispatchEvent(new CustomEvent("closed", { detail: { code, tries: this.#tries } }));
  }

  #ceilingMs(code) {
    if (code === RESTARTING && this.#tries === 1) return RESTART_SPREAD_MS;
    return Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** (this.#tries - 1));
  }

  #drop() {
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#retryTimer);
    this.#alive();
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #pingInSilence(waitMs) {
    this.#pingTimer = setTimeout(() => {
      const leftMs = this.#heardAt + PING_AFTER_MS - performance.now();
      if (leftMs <= 0) this.ping();
      this.#pingInSilence(leftMs > 0 ? leftMs : PING_AFTER_MS);
    }, waitMs);
  }

  // The earliest of several expectations counts.
  #expectLife(waitMs) {
    const deadAt = performance.now() + waitMs;
    if (deadAt >= this.#deadAt) return;
    clearTimeout(this.#deathTimer);
    const socket = this.#socket;
    this.#deadAt = deadAt;
    this.#deathTimer = setTimeout(() => this.#closed(socket, 0), waitMs);
  }

  #alive() {
    this.#heardAt = performance.now();
    this.#deadAt = Infinity;
    clearTimeout(this.#deathTimer);
  }

  // Back in front, on or off the net, back from the page cache: look at once. To be offline need not
  // mean that a server nearby is gone.
  #wake = (event) => {
    if (document.visibilityState === "hidden") return;
    // An attempt that began on another network would only time out.
    if (event.type === "online" && !this.isOpen && performance.now() - this.#begunAt > STALE_MS) this.#drop();
    if (!this.#socket) this.#connect();
    else this.ping(PROBE_MS);
  };

  // A page with an open socket is not kept for the back button.
  #rest = (event) => {
    if (event.persisted) this.#drop();
  };
}
