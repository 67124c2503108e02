// The small line at the composer that says how the connection stands.

import { announce, config, current, request, say, SignedOut } from "./config.js";

// A restart of the server takes less than this; telling sooner would only flicker.
const QUIET_MS = 1_500;
// So many failures in a row may mean that nobody is signed in any more.
const ASK_AFTER_TRIES = 2;
// How the server closes a socket whose person is signed out, or is not the one signed in here now.
const SIGNED_OUT = 4401;
const OTHER_USER = 4403;

export class Connection {
  #line;
  #socket;
  #timer = 0;
  // The sentences that hold at present; the first of them is shown.
  #isEnded = false;
  #isDeleted = false;
  #isLost = false;
  #isFailing = false;

  constructor(line, socket) {
    this.#line = line;
    this.#socket = socket;
    socket.addEventListener("open", () => this.#found());
    socket.addEventListener("closed", ({ detail }) => this.#lost(detail));
    addEventListener("offline", () => socket.isOpen || this.#doubt());
    addEventListener("online", () => (socket.isOpen ? this.#found() : this.#doubt()));
    this.#doubt();
  }

  outdated() {
    this.#end("outdated", "reload", location.pathname + location.search);
  }

  signedOut() {
    this.#end("signedOut", "signIn", location.pathname);
  }

  deleted(isDeleted) {
    this.#isDeleted = isDeleted;
    this.#show();
  }

  // Something that was asked for over HTTP did not come.
  failed(error) {
    if (error instanceof SignedOut) return this.signedOut();
    this.#isFailing = this.#socket.isOpen;
    this.#show();
  }

  // What the page shows is again what the server has.
  caughtUp() {
    this.#isFailing = false;
    this.deleted(false);
  }

  #lost({ code, tries }) {
    if (code === SIGNED_OUT) return this.signedOut();
    if (code === OTHER_USER) return this.#end("otherUser", "reload", config.home);
    this.#doubt();
    if (tries === ASK_AFTER_TRIES) this.#ask();
  }

  async #ask() {
    try {
      await request(`${config.home}sidebar/?current=${current.id}`);
    } catch (error) {
      if (error instanceof SignedOut) this.signedOut();
    }
  }

  // Perhaps it is back before anybody needs to know.
  #doubt() {
    if (this.#isLost) return this.#show();
    // Without a net it will not be.
    const quietMs = navigator.onLine ? QUIET_MS : 0;
    this.#timer ||= setTimeout(() => {
      this.#isLost = true;
      this.#show();
    }, quietMs);
  }

  #found() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isFailing = false;
    if (this.#isLost && !this.#isEnded) announce(say("reconnected"));
    this.#isLost = false;
    this.#show();
  }

  #show() {
    if (this.#isEnded) return;
    if (this.#isDeleted) return this.#tell("deletedElsewhere", "newConversation", config.home);
    if (this.#isLost) return this.#tell(navigator.onLine ? "reconnecting" : "offline");
    this.#tell(this.#isFailing ? "loadFailed" : "");
  }

  #end(name, label, address) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#socket.end();
    this.#tell(name, label, address);
  }

  #tell(name, label, address) {
    if ((this.#line.dataset.says ?? "") === name) return;
    this.#line.dataset.says = name;
    this.#line.replaceChildren(name && say(name));
    if (!label) return;
    const link = document.createElement("a");
    link.href = address;
    link.textContent = say(label);
    this.#line.append(" ", link);
  }
}
