// Messages that are not acknowledged yet, kept in local storage so that no text is lost.
// Sending one twice is harmless: the server recognizes it by its client id.

import { config, randomId, storage, tab } from "./config.js";

const PREFIX = `chatsite.outbox.${config.user}.`;
// Another tab's message is left to that tab for this long. After that, the tab counts as closed.
const ORPHAN_AFTER_MS = 15_000;

export class Outbox {
  // This tab's messages. It sends them until it receives the reply itself, even if another tab sent them too.
  #mine = new Map(stored().filter(Outbox.isMine).map((item) => [item.client_id, item]));

  add(ask) {
    const item = { client_id: randomId(), ...ask, tab, at: Date.now() };
    this.#mine.set(item.client_id, item);
    storage.set(PREFIX + item.client_id, JSON.stringify(item));
    return item;
  }

  take(clientId) {
    const item = this.#mine.get(clientId) ?? storage.json(PREFIX + clientId);
    this.#mine.delete(clientId);
    storage.remove(PREFIX + clientId);
    return item;
  }

  // Messages that this page should send (again), oldest first.
  due() {
    const orphans = this.#others().filter((item) => msUntilOrphan(item) <= 0);
    return [...this.#mine.values(), ...orphans].sort((a, b) => a.at - b.at);
  }

  // Milliseconds until a message of another tab becomes due; Infinity if there is none.
  get msUntilMore() {
    return Math.min(...this.#others().map(msUntilOrphan).filter((ms) => ms > 0));
  }

  // Whether a storage event means that another tab added a message.
  static isAddedBy({ key, newValue }) {
    return Boolean(key?.startsWith(PREFIX) && newValue);
  }

  static isMine(item) {
    return item?.tab === tab;
  }

  static frameOf({ client_id, conversation, parent, text, model, regenerate, later, system_prompt, temperature, project, temporary, compare, attachments, ...rest }) {
    const settings = conversation ? {} : { system_prompt, temperature, project, temporary };
    const frame = { type: "ask", client_id, conversation: conversation || null, text, model, regenerate, later, continue: rest.continue, compare, ...settings };
    if (attachments?.length) frame.attachments = attachments.map(({ id }) => id);
    // Absent means "at the end of the branch", null "as a first message". JSON omits only undefined.
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
  return storage.keys().filter((key) => key.startsWith(PREFIX)).map(storage.json).filter(Boolean);
}
