// Earlier messages, fetched when the reader comes near the top; the place they read at stays theirs.

import { fragmentOf, request } from "./config.js";

export class OlderMessages {
  #host;
  #scroller;
  #observer;
  #onShown;
  #onFailure;

  // `onShown(articles)` is told what was put in front.
  constructor(host, { box, scroller, onShown, onFailure }) {
    this.#host = host;
    this.#scroller = scroller;
    this.#onShown = onShown;
    this.#onFailure = onFailure;
    this.#observer = new IntersectionObserver((entries) => this.#reached(entries), { root: box, rootMargin: "400px 0px" });
  }

  // Watch the link that stands before the oldest message, if there are older ones.
  watch() {
    this.#observer.disconnect();
    const link = this.#host.querySelector("[data-older]");
    if (link) this.#observer.observe(link);
  }

  stop() {
    this.#observer.disconnect();
  }

  async load(link) {
    const line = link.closest(".older");
    if (line.classList.contains("is-loading")) return;
    line.classList.add("is-loading");
    try {
      const fragment = fragmentOf(await request(link.dataset.older));
      const articles = [...fragment.querySelectorAll("article")];
      this.#scroller.keepPlaceOf(line.nextElementSibling, () => {
        line.replaceWith(fragment);
        this.#onShown(articles);
      });
      this.watch();
    } catch (error) {
      line.classList.remove("is-loading");
      this.#onFailure(error);
    }
  }

  #reached(entries) {
    const seen = entries.find((entry) => entry.isIntersecting);
    if (seen) this.load(seen.target);
  }
}
