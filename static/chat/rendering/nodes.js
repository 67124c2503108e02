// Turns the tokens of a block into nodes, the same as the HTML that chat/rendering/writer.py writes, and draws
// nodes. A node is a string, or { tag, attributes, children }. HTML is never parsed.

import { languageOf } from "./block_rules.js";
import { referencesIn } from "./inline_rules.js";
import { parts } from "./limits.js";

const TASK = /^\[([ xX])\]\s+/;
const INFO_MAX_CHARS = 200;
const LINK = { rel: "noopener noreferrer nofollow", target: "_blank" };

export class BlockWriter {
  #definitions;
  #onUnknown;
  // The open elements, outermost first.
  #open = [];
  // The number of the last item of each open ordered list, as written and as shown; null in other lists.
  #numbers = [];
  // Characters of the next text that are not shown, because they are the box of a task.
  #skipped = 0;

  // `definitions` maps the labels of links to URLs; `onUnknown(label)` is called for labels without one.
  constructor(definitions, onUnknown) {
    this.#definitions = definitions;
    this.#onUnknown = onUnknown;
  }

  nodesOf(tokens) {
    this.#open = [element("")];
    tokens.forEach((token, index) => this.#write(token, tokens, index));
    return this.#open[0].children;
  }

  #write(token, tokens, index) {
    if (token.type === "inline") return this.#inline(token.children);
    if (token.type === "fence" || token.type === "code_block") return this.#add(codeOf(token), "\n");
    if (token.type === "formula_block") return this.#add(element("div", { class: "formula", dir: "ltr" }, [token.content]), "\n");
    if (token.type === "hr") return this.#add(element("hr"), "\n");
    if (token.type === "table_open") return this.#push("div", { class: "table", tabindex: "0" }), this.#push("table", direction(token));
    if (token.type === "table_close") return this.#pop(), this.#pop(), this.#add("\n");
    if (token.type === "list_item_open") return this.#item(token, tokens[index + 2]);
    if (token.hidden) return void (token.nesting < 0 && tokens[index + 1].type !== "list_item_close" && this.#add("\n"));
    if (token.nesting > 0) return this.#start(token);
    if (token.tag === "ol" || token.tag === "ul") this.#numbers.pop();
    this.#pop();
    this.#add("\n");
  }

  #start(token) {
    const attributes = Object.fromEntries((token.attrs ?? []).map(([name, value]) => [name, String(value)]));
    const first = Number(attributes.start ?? 1);
    if (token.type === "ordered_list_open") this.#numbers.push([first, first - 1]);
    if (token.type === "bullet_list_open") this.#numbers.push(null);
    this.#push(token.tag, { ...attributes, ...direction(token) });
  }

  #item(token, inline) {
    const attributes = this.#numbers.at(-1) ? this.#numberOf(Number(token.info), ...this.#numbers.at(-1)) : {};
    const text = inline?.type === "inline" ? inline.children[0] : null;
    const task = text?.type === "text" ? TASK.exec(text.content) : null;
    if (task) attributes.class = "task";
    this.#push("li", attributes);
    if (!task) return;
    this.#skipped = task[0].length;
    const isDone = task[1] !== " ";
    const box = { type: "checkbox", disabled: "", ...(isDone && { checked: "" }), "aria-label": isDone ? "done" : "not done" };
    this.#add(element("input", box), " ");
  }

  #numberOf(number, previous, shown) {
    const following = shown + 1;
    const isNext = number === following || number === previous;
    this.#numbers[this.#numbers.length - 1] = [number, isNext ? following : number];
    return isNext ? {} : { value: String(number) };
  }

  #inline(tokens) {
    let isInLink = false;
    for (const token of tokens) {
      if (token.type === "link_open" || token.type === "link_close") isInLink = token.type === "link_open";
      this.#writeInline(token, isInLink);
    }
  }

  #writeInline(token, isInLink) {
    const { type, content } = token;
    if (type === "text") return this.#text(content, isInLink);
    if (type === "softbreak" || type === "hardbreak") return this.#add(element("br"), "\n");
    if (type === "code_inline") return this.#add(element("code", {}, [content]));
    if (type === "formula_inline") return this.#add(element("span", { class: "formula", dir: "ltr" }, [content]));
    if (type === "image") return this.#image(token, isInLink);
    if (type === "link_open") return this.#push("a", linkTo(token.attrGet("href"), token.attrGet("title")));
    if (token.nesting > 0) this.#push(token.tag, {});
    else this.#pop();
  }

  #text(content, isInLink) {
    const text = content.slice(this.#skipped);
    this.#skipped = 0;
    if (isInLink) return this.#add(text);
    for (const [piece, url] of referencesIn(text, this.#definitions, this.#onUnknown)) {
      this.#add(url ? element("a", linkTo(url), [piece]) : piece);
    }
  }

  // Loading an image would reveal the reader to its host.
  #image(token, isInLink) {
    const url = token.attrGet("src");
    const label = token.content.trim() || url;
    this.#add(isInLink ? label : element("a", linkTo(url, token.attrGet("title")), [label]));
  }

  #push(tag, attributes) {
    const node = element(tag, attributes);
    this.#add(node);
    this.#open.push(node);
  }

  #pop() {
    this.#open.pop();
  }

  #add(...nodes) {
    const { children } = this.#open.at(-1);
    for (const node of nodes) {
      if (typeof node !== "string") children.push(node);
      else if (typeof children.at(-1) === "string") children.push(children.pop() + node);
      else if (node) children.push(node);
    }
  }
}

export function plainNode(text) {
  return element("pre", { class: "plain", dir: "auto" }, inParts(parts(text.replace(/^\n+|\n+$/g, ""))));
}

// Return pieces of text as children of an element, each in a box of its own if there are several.
export function inParts(pieces) {
  return pieces.length > 1 ? pieces.map((part) => element("span", { class: "part" }, [part])) : pieces.filter(Boolean);
}

function codeOf(token) {
  const info = token.info.trim();
  const language = token.type === "fence" ? languageOf(info) : "";
  const title = info.toLowerCase() === language ? {} : { "data-title": info.slice(0, INFO_MAX_CHARS) };
  const pre = element("pre", { tabindex: "0" }, [element("code", {}, inParts(parts(token.content)))]);
  return element("div", { class: "code", dir: "ltr", "data-language": language, ...title }, [pre]);
}

function element(tag, attributes = {}, children = []) {
  return { tag, attributes, children };
}

function direction(token) {
  return token.level === 0 ? { dir: "auto" } : {};
}

function linkTo(url, title) {
  // The server removes addresses that are none.
  return { ...(URL.canParse(url) && { href: url }), ...(title && { title }), ...LINK };
}

// -- drawing ----------------------------------------------------------------------------------------

// Change the siblings `shown` so that they show `nodes`. What is equal stays, with its selection and its
// scroll position. New nodes come before `next`. Return the nodes of the page that are shown now.
export function draw(parent, shown, nodes, next = null) {
  const drawn = nodes.map((node, index) => drawOne(parent, shown[index], node, next));
  for (const surplus of shown.slice(nodes.length)) surplus.remove();
  return drawn;
}

function drawOne(parent, shown, node, next) {
  if (shown && canShow(shown, node)) return update(shown, node);
  const created = update(typeof node === "string" ? document.createTextNode("") : document.createElement(node.tag), node);
  if (shown) shown.replaceWith(created);
  else parent.insertBefore(created, next);
  return created;
}

function canShow(shown, node) {
  return typeof node === "string" ? shown.nodeType === Node.TEXT_NODE : shown.localName === node.tag;
}

function update(shown, node) {
  if (typeof node === "string") {
    if (node.startsWith(shown.data)) {
      if (node.length > shown.length) shown.appendData(node.slice(shown.length));
    } else {
      shown.data = node;
    }
    return shown;
  }
  for (const { name } of [...shown.attributes]) if (!(name in node.attributes)) shown.removeAttribute(name);
  for (const [name, value] of Object.entries(node.attributes)) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  // The page adds heads to code, which are not ours.
  const children = [...shown.childNodes].filter((child) => !child.classList?.contains("code-head"));
  draw(shown, children, node.children);
  return shown;
}
