// What was asked and not yet acknowledged, kept in local storage so that nothing typed is lost.
// Sending twice is harmless: the server knows each ask by its client id.

import { config, randomId, storage, tab } from "./config.js";

const PREFIX = `chatsite.outbox.${config.user}.`;
// An ask of another tab is left to it for this long; after that the tab is taken for closed.
const ORPHAN_AFTER_MS = 15_000;

export class Outbox {
  // This tab's own, which it sends until it hears of them itself, even if another tab has sent them.
  #mine = new Map(stored().filter(Outbox.isMine).map((item) => [item.client_id, item]));

  add(ask) {
    const item = { ...ask, client_id: randomId(), tab, at: Date.now() };
    this.#mine.set(item.client_id, item);
    storage.set(PREFIX + item.client_id, JSON.stringify(item));
    return item;
  }

  take(clientId) {
    const item = this.#mine.get(clientId) ?? parsed(PREFIX + clientId);
    this.#mine.delete(clientId);
    storage.remove(PREFIX + clientId);
    return item;
  }

  // Asks that this page should send (again), oldest first.
  due() {
    const orphans = this.#others().filter((item) => msUntilOrphan(item) <= 0);
    return [...this.#mine.values(), ...orphans].sort((a, b) => a.at - b.at);
  }

  // Milliseconds until there is more due; Infinity if nothing of other tabs is waiting.
  get msUntilMore() {
    return Math.min(...this.#others().map(msUntilOrphan).filter((ms) => ms > 0));
  }

  // Whether an event of local storage tells of an ask that was added by another tab.
  static isAddedBy({ key, newValue }) {
    return Boolean(key?.startsWith(PREFIX) && newValue);
  }

  static isMine(item) {
    return item?.tab === tab;
  }

  static frameOf({ client_id, conversation, parent, text, model, regenerate, system_prompt, temperature, ...rest }) {
    const settings = conversation ? {} : { system_prompt, temperature };
    const frame = { type: "ask", client_id, conversation: conversation || null, text, model, regenerate, continue: rest.continue, ...settings };
    // Absent means "at the end of the branch", null "as a first message": JSON leaves out only undefined.
    if (parent !== undefined) frame.parent = parent;
    return frame;
  }

  #others() {
    return stored().filter((item) => !Outbox.isMine(item));
  }
}

function msUntilOrphan({ at }) {
  return at + ORPHAN_AFTER_MS - Date.now();
}

function stored() {
  return storage.keys().filter((key) => key.startsWith(PREFIX)).map(parsed).filter(Boolean);
}

function parsed(key) {
  try {
    return JSON.parse(storage.get(key));
  } catch {
    // Nobody can send what nobody can read.
    storage.remove(key);
    return null;
  }
}
