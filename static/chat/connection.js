// The small line at the composer that says how the connection stands.

import { config, current, request, say, SignedOut } from "./config.js";

// A restart of the server takes less than this; telling sooner would only flicker.
const QUIET_MS = 1_500;
// So many failures in a row may mean that nobody is signed in any more.
const ASK_AFTER_TRIES = 2;
// How the server closes a socket whose person is signed out.
const SIGNED_OUT = 4401;

export class Connection {
  #line;
  #socket;
  #timer = 0;
  #isFinal = false;

  constructor(line, socket) {
    this.#line = line;
    this.#socket = socket;
    socket.addEventListener("open", () => this.#clear());
    socket.addEventListener("closed", ({ detail }) => this.#lost(detail));
    addEventListener("offline", () => this.#show("offline"));
    addEventListener("online", () => (socket.isOpen ? this.#clear() : this.#show("reconnecting")));
    this.#later();
  }

  outdated() {
    this.#end("outdated", say("reload"), location.href);
  }

  signedOut() {
    this.#end("signedOut", say("signIn"), location.pathname);
  }

  deleted(isDeleted) {
    if (!isDeleted) return this.#clear();
    this.#show("deletedElsewhere");
    this.#link(say("newConversation"), config.home);
  }

  // Something that was asked for over HTTP did not come.
  failed(error) {
    if (error instanceof SignedOut) this.signedOut();
    else if (this.#socket.isOpen) this.#show("loadFailed");
  }

  #lost({ code, tries }) {
    if (code === SIGNED_OUT) return this.signedOut();
    if (!navigator.onLine) this.#show("offline");
    else this.#later();
    if (tries === ASK_AFTER_TRIES) this.#ask();
  }

  async #ask() {
    try {
      await request(`${config.home}sidebar/?current=${current.id}`);
    } catch (error) {
      if (error instanceof SignedOut) this.signedOut();
    }
  }

  #later() {
    this.#timer ||= setTimeout(() => this.#show("reconnecting"), QUIET_MS);
  }

  #show(name) {
    if (this.#isFinal || (name === "reconnecting" && this.#socket.isOpen)) return;
    this.#line.textContent = say(name);
    this.#line.hidden = false;
  }

  #end(name, label, address) {
    if (this.#isFinal) return;
    this.#show(name);
    this.#isFinal = true;
    this.#socket.end();
    this.#link(label, address);
  }

  #link(label, address) {
    const link = document.createElement("a");
    link.href = address;
    link.textContent = label;
    this.#line.append(" ", link);
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#isFinal) this.#line.hidden = true;
  }
}
