// Renders Markdown while it arrives. Text becomes text nodes; HTML is never parsed.

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
        // Nested deeper than the parser supports. Show the rest as plain text until the final HTML arrives.
        console.warn("The rest of the Markdown is shown as plain text.", error);
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
      // A remote image would reveal the reader to its server. Show its description instead.
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
