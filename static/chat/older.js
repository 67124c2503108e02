// Loads earlier messages when the reader scrolls near the top, and keeps the scroll position.

import { fragmentOf, request, requestNow } from "./config.js";

export class OlderMessages {
  #host;
  #scroller;
  #observer;
  #onShown;
  #onFailure;

  // `onShown(articles)` is called with the inserted articles.
  constructor(host, { box, scroller, onShown, onFailure }) {
    this.#host = host;
    this.#scroller = scroller;
    this.#onShown = onShown;
    this.#onFailure = onFailure;
    this.#observer = new IntersectionObserver((entries) => this.#reached(entries), { root: box, rootMargin: "400px 0px" });
  }

  // Observe the link above the oldest message, if there is one.
  watch() {
    this.#observer.disconnect();
    const link = this.#host.querySelector("[data-older]");
    if (link) this.#observer.observe(link);
  }

  stop() {
    this.#observer.disconnect();
  }

  // Load all of them while the page waits: what is printed has to be there when the event ends.
  loadAllNow() {
    for (let link; (link = this.#host.querySelector("[data-older]"));) {
      this.#show(link.closest(".older"), requestNow(link.dataset.older));
    }
  }

  async load(link) {
    const holder = link.closest(".older");
    if (holder.classList.contains("is-loading")) return;
    holder.classList.add("is-loading");
    try {
      const html = await request(link.dataset.older);
      // Meanwhile everything may have been loaded to be printed.
      if (holder.isConnected) this.#show(holder, html);
      this.watch();
    } catch (error) {
      holder.classList.remove("is-loading");
      this.#onFailure(error);
    }
  }

  #show(holder, html) {
    const fragment = fragmentOf(html);
    const articles = [...fragment.querySelectorAll("article")];
    this.#scroller.keepPlaceOf(holder.nextElementSibling, () => {
      holder.replaceWith(fragment);
      this.#onShown(articles);
    });
  }

  #reached(entries) {
    const seen = entries.find((entry) => entry.isIntersecting);
    if (seen) this.load(seen.target);
  }
}
