// Keeps the end of the transcript in view, until the reader scrolls up.

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
