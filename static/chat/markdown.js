// Shows an answer's text while it arrives. The renderer is large, so it is loaded when a person begins to
// type; text that arrives before it is plain.

const WORK_MS = 8;
// A hidden page gets no animation frames.
const FRAME_WITHIN_MS = 500;
const PART_CHARS = 8_192;

let renderer = null;

function loadRenderer() {
  renderer ??= import("./rendering/block_stream.js").catch((error) => {
    renderer = null;
    throw error;
  });
  return renderer;
}

addEventListener("input", () => loadRenderer().catch(() => {}), { once: true });

export class MarkdownStream {
  #root;
  #onDrawn;
  #stream = null;
  // Text that arrived before the renderer.
  #early = "";
  #frame = 0;
  #timer = 0;
  #isEnded = false;
  #isDetached = false;
  #isDrawn = true;

  // `onDrawn()` is called after each change of `root`.
  constructor(root, onDrawn = () => {}) {
    this.#root = root;
    this.#onDrawn = onDrawn;
    root.replaceChildren();
    root.classList.add("is-plain");
    loadRenderer().then(
      ({ BlockStream }) => this.#start(new BlockStream(root)),
      (error) => console.warn("The text is shown as plain text.", error),
    );
  }

  // Whether all text that arrived is shown.
  get isDrawn() {
    return this.#isDrawn;
  }

  write(text) {
    if (this.#stream) {
      this.#stream.write(text);
      this.#work();
    } else {
      this.#early += text;
      appendPlain(this.#root, text);
    }
  }

  // No more text will come. Draws the rest, unless the root is taken off the page before.
  end() {
    this.#isEnded = true;
    if (!this.#stream) return;
    this.#stream.end();
    this.#work();
  }

  // Stop drawing. What is shown stays.
  detach() {
    this.#cancel();
    this.#isDetached = true;
  }

  #start(stream) {
    if (this.#isDetached) return;
    this.#root.replaceChildren();
    this.#root.classList.remove("is-plain");
    // Each block has a direction of its own. For that of the root, a browser would look at all blocks again
    // with each new one.
    this.#root.removeAttribute("dir");
    this.#stream = stream;
    stream.write(this.#early);
    if (this.#isEnded) stream.end();
    this.#work();
  }

  #work() {
    this.#cancel();
    this.#isDrawn = this.#stream.work(performance.now() + WORK_MS);
    this.#onDrawn();
    if (this.#isDrawn || (this.#isEnded && !this.#root.isConnected)) return;
    this.#frame = requestAnimationFrame(() => this.#work());
    this.#timer = setTimeout(() => this.#work(), FRAME_WITHIN_MS);
  }

  #cancel() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
  }
}

// Append plain text in parts, which the browser lays out one by one.
export function appendPlain(root, text) {
  let rest = text;
  while (rest) {
    let part = root.lastElementChild;
    const room = PART_CHARS - (part?.textContent.length ?? PART_CHARS);
    if (room <= 0) {
      part = root.appendChild(document.createElement("span"));
      part.className = "part";
    }
    const head = rest.slice(0, room > 0 ? room : PART_CHARS);
    if (part.firstChild) part.firstChild.appendData(head);
    else part.append(head);
    rest = rest.slice(head.length);
  }
}
