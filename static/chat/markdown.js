// Markdown that is drawn while it arrives. Text becomes text nodes; nothing here parses HTML.

import { HREF, IMAGE, LANG, SRC, default_renderer, parser, parser_end, parser_write } from "../vendor/streaming-markdown/smd.min.js";

const SAFE_SCHEME = /^(https?:|mailto:)/i;

export class MarkdownStream {
  #root;
  #parser = null;
  #isPlain = false;

  constructor(root) {
    this.#root = root;
    this.#parser = parser(safeRenderer(root));
  }

  write(text) {
    if (!this.#isPlain) {
      try {
        parser_write(this.#parser, text);
        return;
      } catch (error) {
        // Deeper nesting than the parser can hold. The rest is shown as it is; the final page has it right.
        console.warn("Markdown is shown as plain text from here on.", error);
        this.#isPlain = true;
        this.#root.classList.add("is-plain");
      }
    }
    this.#root.append(text);
  }

  end() {
    if (!this.#isPlain) parser_end(this.#parser);
  }
}

function safeRenderer(root) {
  const renderer = default_renderer(root);
  return {
    ...renderer,
    add_token(data, type) {
      if (type !== IMAGE) return renderer.add_token(data, type);
      // A remote image would tell its server who reads this; its description is shown instead.
      const standIn = data.nodes[data.index].appendChild(document.createElement("span"));
      data.nodes[++data.index] = standIn;
    },
    set_attr(data, type, value) {
      const node = data.nodes[data.index];
      if (type === SRC) return;
      if (type === HREF) return setLink(node, value);
      if (type === LANG) return void (node.parentElement.dataset.language = value.trim().split(/\s/)[0]);
      renderer.set_attr(data, type, value);
    },
  };
}

function setLink(node, address) {
  if (!SAFE_SCHEME.test(address.trim())) return;
  node.setAttribute("href", address.trim());
  node.setAttribute("rel", "noopener noreferrer nofollow");
  node.setAttribute("target", "_blank");
}
