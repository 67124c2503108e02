// The page's websocket, which reconnects by itself. Events: "open", "closed", "frame".

import { VERSION } from "./config.js";

// A dead connection is detected within the sum of these two.
const PING_AFTER_MS = 15_000;
const REPLY_WITHIN_MS = 10_000;
// A shorter limit after the tab becomes visible or the network changes, because the user is waiting.
const PROBE_MS = 4_000;
// A connection attempt that takes longer than this is restarted when the network comes back.
const STALE_MS = 1_000;
const BACKOFF_MS = 500;
const BACKOFF_CAP_MS = 15_000;
// Close code of a server that restarts, which closes all sockets at the same moment.
const RESTARTING = 1012;
const RESTART_SPREAD_MS = 1_000;
// Frames that must arrive: each is followed by a ping, to detect a dead connection early.
const URGENT = new Set(["ask", "stop"]);

export class Socket extends EventTarget {
  #address;
  #socket = null;
  #tries = 0;
  #retryTimer = 0;
  #pingTimer = 0;
  #deadlineTimer = 0;
  #deadlineAt = Infinity;
  #connectingSince = 0;
  #receivedAt = 0;
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
    addEventListener("pagehide", this.#suspend);
    document.addEventListener("visibilitychange", this.#wake);
    this.#connect();
  }

  // Close for good: the page is outdated, or the user is signed out.
  end() {
    this.#isEnded = true;
    this.#disconnect();
  }

  // Return whether the socket was open. Only a reply of the server proves that the frame arrived.
  send(frame) {
    if (!this.isOpen) return false;
    this.#socket.send(JSON.stringify({ v: VERSION, ...frame }));
    if (URGENT.has(frame.type)) this.ping();
    if (frame.type === "read") this.#expectReply(REPLY_WITHIN_MS);
    return true;
  }

  // The server handles frames in order: its pong means that all earlier frames have been handled.
  ping(waitMs = REPLY_WITHIN_MS) {
    if (this.send({ type: "ping" })) this.#expectReply(waitMs);
  }

  #connect() {
    clearTimeout(this.#retryTimer);
    if (this.#isEnded || this.#socket) return;
    const socket = new WebSocket(this.#address);
    this.#connectingSince = performance.now();
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (message) => this.#received(message.data);
    socket.onclose = (event) => this.#closed(socket, event.code);
    // A connection attempt that hangs counts as failed.
    this.#expectReply(REPLY_WITHIN_MS);
  }

  #opened() {
    this.#markAlive();
    this.#pingWhenIdle(PING_AFTER_MS);
    this.dispatchEvent(new Event("open"));
  }

  #received(data) {
    // Reset here and not when the socket opens: a server may accept connections and close them at once.
    this.#tries = 0;
    this.#markAlive();
    this.dispatchEvent(new CustomEvent("frame", { detail: JSON.parse(data) }));
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    this.#disconnect();
    if (this.#isEnded) return;
    this.#tries += 1;
    // Full jitter, so that clients do not all reconnect at once when a server comes back.
    this.#retryTimer = setTimeout(() => this.#connect(), 100 + Math.random() * this.#ceilingMs(code));
    this.dispatchEvent(new CustomEvent("closed", { detail: { code, tries: this.#tries } }));
  }

  #ceilingMs(code) {
    if (code === RESTARTING && this.#tries === 1) return RESTART_SPREAD_MS;
    return Math.min(BACKOFF_CAP_MS, BACKOFF_MS * 2 ** (this.#tries - 1));
  }

  #disconnect() {
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#retryTimer);
    this.#markAlive();
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  #pingWhenIdle(waitMs) {
    this.#pingTimer = setTimeout(() => {
      const leftMs = this.#receivedAt + PING_AFTER_MS - performance.now();
      if (leftMs <= 0) this.ping();
      this.#pingWhenIdle(leftMs > 0 ? leftMs : PING_AFTER_MS);
    }, waitMs);
  }

  // Treat the connection as dead unless a frame arrives within `waitMs`. The earliest deadline counts.
  #expectReply(waitMs) {
    const deadlineAt = performance.now() + waitMs;
    if (deadlineAt >= this.#deadlineAt) return;
    clearTimeout(this.#deadlineTimer);
    const socket = this.#socket;
    this.#deadlineAt = deadlineAt;
    this.#deadlineTimer = setTimeout(() => this.#closed(socket, 0), waitMs);
  }

  #markAlive() {
    this.#receivedAt = performance.now();
    this.#deadlineAt = Infinity;
    clearTimeout(this.#deadlineTimer);
  }

  // Check the connection at once: the tab became visible, the network changed, or the page left the
  // back/forward cache. A local server can still be reachable while the browser is offline.
  #wake = (event) => {
    if (document.visibilityState === "hidden") return;
    // An attempt that was started on another network would only time out.
    if (event.type === "online" && !this.isOpen && performance.now() - this.#connectingSince > STALE_MS) this.#disconnect();
    if (!this.#socket) this.#connect();
    else this.ping(PROBE_MS);
  };

  // Browsers do not keep a page with an open socket in the back/forward cache.
  #suspend = (event) => {
    if (event.persisted) this.#disconnect();
  };
}
