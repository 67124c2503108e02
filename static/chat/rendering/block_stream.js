// Draws Markdown while it arrives, block by block. Only the last block is parsed again when more text comes;
// a block that another one follows is final. The work is done in steps of some milliseconds.

import { definitionsIn } from "./inline_rules.js";
import { nextBlocks, normalize, normalizeLink, parseInline } from "./grammar.js";
import { MAX_BLOCK_ELEMENTS, MAX_ELEMENTS, parts } from "./limits.js";
import { draw, inParts, plainNode, BlockWriter } from "./nodes.js";

// A line of nothing but marks may become anything, and the line of a fence may name its language yet:
// they are shown when more of them is there.
const UNDECIDED = /^[-=*_#>+|~:.`\\[\]) \t0-9]*(?:\[[xX])?$/;
const FENCE = /^[> \t]*(?:[-*+][ \t]+|\d{1,9}[.)][ \t]+)?(?:`{3,}[^`]*|~{3,}.*)$/;
const UNDECIDED_MAX_CHARS = 200;
// The last block is drawn again after a multiple of the time that it took.
const REST_FACTOR = 3;
const PLAIN_STEP_CHARS = 65_536;

export class BlockStream {
  #root;
  #writer;
  #definitions = new Map();
  // Blocks that wait for the definition of a label.
  #waiting = new Map();
  #unknown = [];
  // Text from the start of the last block that is not final, and where this is in the whole text.
  #source = "";
  #position = 0;
  #length;
  // A "\r" at the end of what arrived may be half of a line break.
  #carry = "";
  #final = [];
  #again = new Set();
  // What shows the text that is not final.
  #shown = [];
  #elements = 0;
  // After a limit: all further text is plain, in one block, whose last part may grow.
  #isPlain = false;
  #plain = null;
  #lastPart = "";
  #isParted = false;
  #isChanged = false;
  #isEnded = false;
  #restUntil = 0;

  constructor(root) {
    this.#root = root;
    this.#writer = new BlockWriter(this.#definitions, (label) => this.#unknown.push(label));
  }

  write(text) {
    const arrived = this.#carry + text;
    this.#carry = arrived.endsWith("\r") ? "\r" : "";
    this.#source += normalize(this.#carry ? arrived.slice(0, -1) : arrived);
    this.#isChanged = true;
  }

  // No more text will come.
  end() {
    this.#source += normalize(this.#carry);
    this.#carry = "";
    this.#isEnded = true;
    this.#isChanged = true;
    this.#restUntil = 0;
  }

  // Draw until `deadline`, a performance.now(), is over. Return whether everything is drawn.
  work(deadline) {
    while (this.#step()) if (performance.now() >= deadline) return false;
    return !this.#isChanged;
  }

  // Do the next piece of work. Return false if there is none now.
  #step() {
    if (this.#isPlain) return this.#stepPlain();
    if (this.#final.length) return this.#drawFinal(this.#final.shift());
    if (this.#again.size) return this.#drawAgain();
    if (!this.#isChanged || performance.now() < this.#restUntil) return false;
    return this.#parse();
  }

  #parse() {
    const begun = performance.now();
    const source = this.#isEnded ? this.#source : decided(this.#source);
    const { blocks, rest, length, isLast, isPlain } = nextBlocks(source, this.#position, this.#length);
    this.#length = length;
    if (isPlain) return this.#turnPlain([]);
    if (!isLast) return this.#finish(blocks, rest);
    if (this.#isEnded && blocks.length) return this.#finish(blocks, source.length);
    // A block is final if the line that begins the next one is whole.
    const wholeLines = source.lastIndexOf("\n") + 1;
    const number = blocks.slice(1).filter(({ start }) => start < wholeLines).length;
    if (number) return this.#finish(blocks.slice(0, number), blocks[number].start);
    this.#drawOpen(blocks);
    this.#isChanged = false;
    this.#restUntil = performance.now() + (performance.now() - begun) * REST_FACTOR;
    return true;
  }

  #finish(blocks, chars) {
    this.#final.push(...blocks);
    this.#source = this.#source.slice(chars);
    this.#position += chars;
    return true;
  }

  #drawFinal(block) {
    this.#define(block);
    const number = parseInline(block);
    if (number <= MAX_BLOCK_ELEMENTS) this.#elements += number;
    if (this.#elements > MAX_ELEMENTS) return this.#turnPlain([block, ...this.#final]);
    const nodes = this.#nodesOf(block);
    const next = this.#shown.slice(nodes.length);
    block.shown = draw(this.#root, this.#shown.slice(0, nodes.length), nodes, next[0]);
    this.#shown = next;
    for (const label of this.#unknown) {
      if (!this.#waiting.has(label)) this.#waiting.set(label, new Set());
      this.#waiting.get(label).add(block);
    }
    return true;
  }

  #drawOpen(blocks) {
    const nodes = blocks.flatMap((block) => {
      const isTooMuch = this.#elements + parseInline(block) > MAX_ELEMENTS;
      return isTooMuch ? [plainNode(block.source), "\n"] : this.#nodesOf(block);
    });
    this.#shown = draw(this.#root, this.#shown, nodes);
  }

  #nodesOf(block) {
    this.#unknown.length = 0;
    return parseInline(block) > MAX_BLOCK_ELEMENTS ? [plainNode(block.source), "\n"] : this.#writer.nodesOf(block.tokens);
  }

  // Note the definitions in a block. Blocks above that mention their labels are drawn again, with links.
  #define({ tokens }) {
    tokens.forEach((token, index) => {
      if (token.type !== "inline" || tokens[index - 1].type !== "paragraph_open") return;
      for (const [label, url] of definitionsIn(token.content)) {
        if (this.#definitions.has(label)) continue;
        this.#definitions.set(label, normalizeLink(url));
        this.#waiting.get(label)?.forEach((block) => this.#again.add(block));
        this.#waiting.delete(label);
      }
    });
  }

  #drawAgain() {
    const [block] = this.#again;
    this.#again.delete(block);
    const next = block.shown.at(-1).nextSibling;
    block.shown = draw(this.#root, block.shown, this.#nodesOf(block), next);
    return true;
  }

  // -- plain text after the limits ------------------------------------------------------------------

  #turnPlain(blocks) {
    this.#source = blocks.map((block) => block.source).join("") + this.#source;
    this.#source = this.#source.replace(/^\n+/, "");
    this.#final = [];
    [this.#plain] = draw(this.#root, this.#shown, [plainNode(""), "\n"]);
    this.#shown = [];
    this.#isPlain = true;
    this.#isChanged = true;
    return true;
  }

  // Append to the plain block; only its last part changes.
  #stepPlain() {
    if (!this.#source) return (this.#isChanged = false);
    const pieces = parts(this.#lastPart + this.#source.slice(0, PLAIN_STEP_CHARS));
    this.#source = this.#source.slice(PLAIN_STEP_CHARS);
    this.#lastPart = pieces.at(-1);
    const last = pieces.length - 1;
    pieces[last] = pieces[last].replace(/\n+$/, "");
    // A text in one part has no boxes.
    const nodes = this.#isParted || last ? inParts([...pieces, ""]).slice(0, -1) : pieces;
    this.#isParted ||= last > 0;
    this.#shown = draw(this.#plain, this.#shown, nodes).slice(-1);
    return true;
  }
}

// Return `source` without a last line that may still become something else than it looks like.
function decided(source) {
  const line = source.slice(source.lastIndexOf("\n") + 1);
  const isUndecided = line.length <= UNDECIDED_MAX_CHARS && (UNDECIDED.test(line) || FENCE.test(line));
  return isUndecided ? source.slice(0, source.length - line.length) : source;
}
