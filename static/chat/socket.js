// One socket a page, which comes back by itself. Tells: "open", "closed", "frame".

import { VERSION } from "./config.js";

const PING_EVERY_MS = 20_000;
const DEAD_AFTER_MS = 10_000;
const BACKOFF_MS = 500;
const BACKOFF_CAP_MS = 15_000;

export class Socket extends EventTarget {
  #address;
  #socket = null;
  #tries = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #deathTimer = 0;
  #heardAt = 0;
  #isEnded = false;

  constructor(address) {
    super();
    this.#address = address;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  get tries() {
    return this.#tries;
  }

  start() {
    addEventListener("online", this.#wake);
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

  resume() {
    this.#isEnded = false;
    this.#connect();
  }

  // True if the frame was handed to an open socket; whether it arrived, an answer tells.
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify({ v: VERSION, ...frame }));
    return true;
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    if (this.#isEnded || this.#socket) return;
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (message) => this.#heard(message.data);
    socket.onclose = (event) => this.#closed(socket, event.code);
    // A connection attempt that hangs is as bad as one that fails.
    this.#expectLife();
  }

  #opened() {
    this.#tries = 0;
    this.#alive();
    this.#pingTimer = setInterval(() => this.#ping(), PING_EVERY_MS);
    this.dispatchEvent(new Event("open"));
  }

  #heard(data) {
    this.#alive();
    this.dispatchEvent(new CustomEvent("frame", { detail: JSON.parse(data) }));
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#drop();
    if (this.#isEnded) return;
    this.#tries += 1;
    const ceiling = Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** (this.#tries - 1));
    // Full jitter, so that a server that comes back is not met by everybody at once.
    this.#retryTimer = setTimeout(() => this.#connect(), 100 + Math.random() * ceiling);
    this.dispatchEvent(new CustomEvent("closed", { detail: { code, tries: this.#tries } }));
  }

  #drop() {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#deathTimer);
    clearTimeout(this.#retryTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #ping() {
    this.send({ type: "ping" });
    this.#expectLife();
  }

  #expectLife() {
    clearTimeout(this.#deathTimer);
    const socket = this.#socket;
    this.#deathTimer = setTimeout(() => this.#closed(socket, 0), DEAD_AFTER_MS);
  }

  #alive() {
    this.#heardAt = performance.now();
    clearTimeout(this.#deathTimer);
  }

  // Back in front, back on the net, back from the page cache: look at once.
  #wake = () => {
    if (document.visibilityState === "hidden") return;
    if (!this.#socket) this.#connect();
    else if (this.isOpen && performance.now() - this.#heardAt > PING_EVERY_MS) this.#ping();
  };

  // A page with an open socket is not kept for the back button.
  #rest = (event) => {
    if (event.persisted) this.#drop();
  };
}
