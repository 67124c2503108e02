// Keeps the reader's place: the end of the transcript in view until the reader scrolls up, and what is read in its
// place while earlier messages are loaded above it.

import { fragmentOf, request, requestNow } from "./config.js";

const NEAR_PX = 32;

export class Scroller {
  #box;
  #link;
  #isPinned = true;
  #top = 0;

  // `link` is shown while the end is out of view.
  constructor(box, content, link) {
    this.#box = box;
    this.#link = link;
    this.#top = box.scrollTop;
    box.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const observer = new ResizeObserver(() => this.#settle());
    observer.observe(content);
    observer.observe(box);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      this.toEnd();
    });
  }

  toEnd() {
    this.#isPinned = true;
    this.#settle();
  }

  unpin() {
    this.#isPinned = false;
  }

  // Call `change` so that `element`, or what `change` returns in its place, keeps its position on the screen.
  keepPlaceOf(element, change) {
    const before = element.getBoundingClientRect().top;
    const still = change() ?? element;
    if (!this.#isPinned) this.#box.scrollTop += still.getBoundingClientRect().top - before;
    this.#settle();
  }

  get #isNearEnd() {
    return this.#box.scrollHeight - this.#box.clientHeight - this.#box.scrollTop < NEAR_PX;
  }

  #scrolled() {
    const wentUp = this.#box.scrollTop < this.#top - 1;
    this.#top = this.#box.scrollTop;
    if (this.#isNearEnd) this.#isPinned = true;
    else if (wentUp) this.#isPinned = false;
    this.#showEdges();
  }

  #settle() {
    if (this.#isPinned) {
      this.#box.scrollTop = this.#box.scrollHeight;
      this.#top = this.#box.scrollTop;
    }
    this.#showEdges();
  }

  #showEdges() {
    this.#link.hidden = this.#isNearEnd;
    this.#box.classList.toggle("is-scrolled", this.#box.scrollTop > 0);
  }
}

// Loads earlier messages when the reader scrolls near the top.
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
