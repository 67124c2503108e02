// The notice at the composer about the state of the connection.

import { announce, config, current, request, SignedOut, translate } from "./config.js";

// Longer than a server restart takes, so that the notice does not flicker.
const QUIET_MS = 1_500;
// So many failed attempts in a row can mean that the session has ended.
const CHECK_SESSION_AFTER_TRIES = 2;
// Close codes of the server: the session has ended; another user has signed in on this browser.
const SIGNED_OUT = 4401;
const OTHER_USER = 4403;

export class Connection {
  #element;
  #socket;
  #timer = 0;
  // All states that apply at present. The notice shows the first one.
  #isEnded = false;
  #isDeleted = false;
  #isLost = false;
  #isFailing = false;

  constructor(element, socket) {
    this.#element = element;
    this.#socket = socket;
    socket.addEventListener("open", () => this.#connected());
    socket.addEventListener("closed", ({ detail }) => this.#disconnected(detail));
    addEventListener("offline", () => socket.isOpen || this.#showLossSoon());
    addEventListener("online", () => (socket.isOpen ? this.#connected() : this.#showLossSoon()));
    if (config.isAddressKnown) this.#showLossSoon();
    else this.#end(config.isStaff ? "unknownAddressStaff" : "unknownAddress");
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

  // An HTTP request failed.
  failed(error) {
    if (error instanceof SignedOut) return this.signedOut();
    this.#isFailing = this.#socket.isOpen;
    this.#show();
  }

  // The page is in sync with the server again.
  caughtUp() {
    this.#isFailing = false;
    this.deleted(false);
  }

  #disconnected({ code, tries }) {
    if (code === SIGNED_OUT) return this.signedOut();
    if (code === OTHER_USER) return this.#end("otherUser", "reload", config.home);
    this.#showLossSoon();
    if (tries === CHECK_SESSION_AFTER_TRIES) this.#checkSession();
  }

  async #checkSession() {
    try {
      await request(`${config.home}sidebar/?current=${current.id}`);
    } catch (error) {
      if (error instanceof SignedOut) this.signedOut();
    }
  }

  // Show the notice only if the connection does not come back soon.
  #showLossSoon() {
    if (this.#isLost) return this.#show();
    // Without a network it will not come back soon.
    const quietMs = navigator.onLine ? QUIET_MS : 0;
    this.#timer ||= setTimeout(() => {
      this.#isLost = true;
      this.#show();
    }, quietMs);
  }

  #connected() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isFailing = false;
    if (this.#isLost && !this.#isEnded) announce(translate("reconnected"));
    this.#isLost = false;
    this.#show();
  }

  #show() {
    if (this.#isEnded) return;
    if (this.#isDeleted) return this.#showNotice("deletedElsewhere", "newConversation", config.home);
    if (this.#isLost) return this.#showNotice(navigator.onLine ? "reconnecting" : "offline");
    this.#showNotice(this.#isFailing ? "loadFailed" : "");
  }

  #end(name, label, address) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#socket.end();
    this.#showNotice(name, label, address);
  }

  #showNotice(name, label, address) {
    if ((this.#element.dataset.notice ?? "") === name) return;
    this.#element.dataset.notice = name;
    this.#element.replaceChildren(name && translate(name, { address: location.origin }));
    if (!label) return;
    const link = document.createElement("a");
    link.href = address;
    link.textContent = translate(label);
    this.#element.append(" ", link);
  }
}
