// Messages that are shown but not acknowledged yet, and the articles that they will replace.
// The state is in the page itself: data-ask on a pending article, data-hidden-by on what it replaces.

import { url } from "./config.js";

export class PendingAsks {
  #host;

  constructor(host) {
    this.#host = host;
  }

  get isAny() {
    return this.#host.querySelector("[data-ask]") !== null;
  }

  show({ client_id: id, text, regenerate, replaces, ...ask }) {
    if (this.#article(id)) return;
    if (ask.continue) return this.#holdContinued(id, ask.continue);
    const asked = regenerate && this.#message(regenerate);
    this.#hideFrom(replaces ? this.#message(replaces) : asked?.nextElementSibling, id);
    const article = copyOf(text === undefined ? "answer-template" : "pending-template");
    article.dataset.ask = id;
    if (text !== undefined) article.querySelector(".bubble").textContent = text;
    if (ask.attachments?.length) import("./attachments.js").then(({ fileList }) => article.querySelector(".bubble").before(fileList(ask.attachments)));
    this.#host.append(article);
  }

  showState(id, text) {
    const article = this.#article(id);
    const line = article?.querySelector(".status") ?? article?.querySelector(".state");
    if (line && !article.dataset.message) line.textContent = text;
  }

  // Undo `show`.
  refuse(id) {
    const article = this.#article(id);
    if (article?.dataset.message) release(article);
    else article?.remove();
    for (const hidden of this.#hiddenBy(id)) {
      hidden.hidden = false;
      delete hidden.dataset.hiddenBy;
    }
  }

  // Return the article of the new answer; null if there is none, or if the server's is already shown.
  // Calls `remove(article)` for each replaced article.
  accept(frame, remove) {
    const article = this.#article(frame.client_id);
    this.#hiddenBy(frame.client_id).forEach(remove);
    if (article?.dataset.message) {
      release(article);
      return null;
    }
    if (!article || this.#message(frame.message)) {
      article?.remove();
      return null;
    }
    delete article.dataset.ask;
    return nameAnswer(article.classList.contains("question") ? this.#answerTo(article, frame) : article, frame);
  }

  #answerTo(question, frame) {
    question.id = `m${frame.user_message}`;
    question.dataset.message = frame.user_message;
    question.dataset.parent = frame.parent ?? "";
    question.classList.remove("pending");
    question.querySelector(".state").textContent = "";
    question.querySelector(".actions").hidden = false;
    question.querySelector("[data-action=edit]").href = url.edit(frame.user_message);
    const answer = copyOf("answer-template");
    question.after(answer);
    return answer;
  }

  #holdContinued(id, message) {
    const article = this.#message(message);
    if (!article) return;
    article.dataset.ask = id;
    article.querySelector(".footer").inert = true;
  }

  #hideFrom(article, id) {
    for (let next = article; next; next = next.nextElementSibling) {
      next.hidden = true;
      next.dataset.hiddenBy = id;
    }
  }

  #hiddenBy(id) {
    return [...this.#host.querySelectorAll(`:scope > [data-hidden-by="${id}"]`)];
  }

  #article(id) {
    return this.#host.querySelector(`:scope > [data-ask="${id}"]`);
  }

  #message(id) {
    return this.#host.querySelector(`:scope > #m${id}`);
  }
}

// Whether a new question stands where the server put it. Then nothing has to be read until its answer ends.
export function isInPlace(answer, { user_message: question, parent, repeat }) {
  const asked = answer?.previousElementSibling;
  const before = asked?.previousElementSibling?.dataset.message ?? "";
  return !repeat && asked?.dataset.message === String(question) && before === String(parent ?? "");
}

function nameAnswer(article, { message, generation }) {
  article.id = `m${message}`;
  Object.assign(article.dataset, { message, generation, seq: 0 });
  article.querySelector(".status").textContent = "";
  return article;
}

function release(article) {
  delete article.dataset.ask;
  article.querySelector(".footer").inert = false;
}

function copyOf(templateId) {
  return document.getElementById(templateId).content.querySelector("article").cloneNode(true);
}
