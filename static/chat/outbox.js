// What was asked and not yet acknowledged, kept in local storage so that nothing typed is lost.
// Sending twice is harmless: the server knows each ask by its client id.

import { config, randomId, storage, tab } from "./config.js";

const PREFIX = `chatsite.outbox.${config.user}.`;
// An ask of another tab is left to it for this long; after that the tab is taken for closed.
const ORPHAN_AFTER_MS = 15_000;

export class Outbox {
  // Used where local storage fails us.
  #memory = new Map();

  add(ask) {
    const item = { ...ask, client_id: randomId(), tab, at: Date.now() };
    if (!storage.set(PREFIX + item.client_id, JSON.stringify(item))) this.#memory.set(item.client_id, item);
    return item;
  }

  take(clientId) {
    const item = this.#find(clientId);
    this.#memory.delete(clientId);
    storage.remove(PREFIX + clientId);
    return item;
  }

  // Asks that this page should send (again), oldest first.
  due() {
    const now = Date.now();
    return this.#all()
      .filter((item) => item.tab === tab || now - item.at > ORPHAN_AFTER_MS)
      .sort((a, b) => a.at - b.at);
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

  #find(clientId) {
    const kept = storage.get(PREFIX + clientId);
    return this.#memory.get(clientId) ?? (kept && JSON.parse(kept)) ?? null;
  }

  #all() {
    const kept = storage.keys().filter((key) => key.startsWith(PREFIX)).map((key) => JSON.parse(storage.get(key)));
    return [...kept.filter(Boolean), ...this.#memory.values()];
  }
}
