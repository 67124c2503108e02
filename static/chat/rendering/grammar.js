// The grammar of answers, the same as the server's (chat/rendering/grammar.py), which says what differs from
// CommonMark. tests/rendering/test_both_views.py compares the two.

import "../../vendor/markdown-it/markdown-it.umd.min.js";
import { fence, formulaBlock, table } from "./block_rules.js";
import { bareUrl, dunder, escape, formulaInline, mayBeFollowed, tag, withEmphasis } from "./inline_rules.js";
import { MAX_BLOCK_CHARS, MAX_BRACKETS, MAX_CHARS, MAX_INLINE_CHARS, MAX_INLINE_ELEMENTS, MAX_INLINE_NESTING, MAX_NESTING } from "./limits.js";

const WINDOW_CHARS = MAX_BLOCK_CHARS / 4;
// Invisible characters that one of the two languages takes for white space, and the other does not.
const UNEVEN = /[\x1c-\x1f\x85\ufeff\0]/g;

const markdown = parser();

function parser() {
  const markdown = new globalThis.markdownit("commonmark", { maxNesting: MAX_NESTING + MAX_INLINE_NESTING });
  markdown.inline.State = withEmphasis(markdown.inline.State);
  markdown.validateLink = mayBeFollowed;
  // A URL is shown as the model wrote it.
  markdown.normalizeLinkText = String;
  setBlockRules(markdown.block.ruler);
  setInlineRules(markdown.inline.ruler);
  markdown.inline.ruler2.enable(["strikethrough"]);
  markdown.core.ruler.enableOnly(["inline", "text_join"]);
  return markdown;
}

function setBlockRules(ruler) {
  ruler.at("table", table, { alt: ["paragraph"] });
  ruler.at("fence", fence, { alt: ["paragraph", "blockquote", "list"] });
  ruler.before("fence", "formula", formulaBlock, { alt: ["paragraph", "blockquote"] });
  ruler.enable(["table"]);
  ruler.disable(["reference", "html_block"]);
  ruler.before("table", "limits", tooDeep);
}

function setInlineRules(ruler) {
  ruler.at("escape", escape);
  ruler.before("escape", "formula", formulaInline);
  ruler.before("emphasis", "dunder", dunder);
  ruler.at("linkify", bareUrl);
  ruler.at("html_inline", tag);
  ruler.enable(["linkify", "strikethrough"]);
}

// The whole block will be shown as plain text, so its other lines are not read.
function tooDeep(state, start, end, silent) {
  if (state.level < MAX_NESTING || silent) return false;
  state.push("too_complex", "", 0);
  state.line = end;
  return true;
}

// Return `text` with "\n" as its only line break, without NUL and without a few invisible characters.
export function normalize(text) {
  return text.replace(/\r\n?/g, "\n").replace(UNEVEN, "");
}

// Take the next blocks from the start of `source`, whose first character is number `position` of the text:
// { blocks, rest } with rest = where the last block starts, which later text may change. With `length`, the
// window must be longer to contain a whole block.
export function nextBlocks(source, position, length = WINDOW_CHARS) {
  if (position >= MAX_CHARS) return { blocks: [], rest: 0, isPlain: true };
  const window = windowOf(source, length);
  const found = blocksOf(window);
  if (window.length === source.length) return { blocks: found, rest: found.at(-1)?.start ?? source.length, isLast: true };
  if (found.length > 1) return { blocks: found.slice(0, -1), rest: found.at(-1).start };
  if (length < MAX_BLOCK_CHARS || isCode(found[0])) return { blocks: [], rest: 0, length: length * 4 };
  return { blocks: [{ start: 0, source: window, tokens: [] }], rest: window.length };
}

// Whole lines of at most `length` characters, or the beginning of a longer line.
function windowOf(source, length) {
  if (length >= source.length) return source;
  const window = source.slice(0, length);
  return window.slice(0, window.lastIndexOf("\n") + 1) || window;
}

function blocksOf(window) {
  const tokens = [];
  markdown.block.parse(window, markdown, {}, tokens);
  const lines = [0];
  for (let end = window.indexOf("\n"); end >= 0; end = window.indexOf("\n", end + 1)) lines.push(end + 1);
  const starts = [...tokens.keys()].filter((index) => tokens[index].level === 0 && tokens[index].nesting >= 0);
  const offsets = starts.map((index) => lines[tokens[index].map?.[0] ?? 0]);
  return starts.map((index, number) => ({
    start: offsets[number],
    source: window.slice(offsets[number], offsets[number + 1]),
    tokens: tokens.slice(index, starts[number + 1]),
  }));
}

function isCode(block) {
  return block?.tokens[0]?.type === "fence" || block?.tokens[0]?.type === "code_block";
}

// Parse the paragraphs of a block once. Return the number of its elements, Infinity if it exceeds a limit.
export function parseInline(block) {
  block.elements ??= canBeParsed(block.tokens) ? parsedElements(block.tokens) : Infinity;
  return block.elements;
}

function parsedElements(tokens) {
  // The server's library removes all white space around a paragraph, not only that of ASCII.
  for (const token of tokens) if (token.type === "inline") token.content = token.content.trim();
  const state = new markdown.core.State("", markdown, {});
  state.tokens = tokens;
  markdown.core.process(state);
  return elementsOf(tokens);
}

function canBeParsed(tokens) {
  return tokens.length > 0 && tokens.every(({ type, content }) =>
    type !== "too_complex" &&
    (type !== "inline" || (content.length <= MAX_INLINE_CHARS && content.split("[").length - 1 <= MAX_BRACKETS)));
}

function elementsOf(tokens) {
  let number = 0;
  let depth = 0;
  for (const token of tokens) {
    if (token.nesting >= 0 && token.type !== "inline" && token.type !== "text") number += 1;
    depth += token.nesting;
    if (!token.block && depth > MAX_INLINE_NESTING) return Infinity;
    const inner = elementsOf(token.children ?? []);
    if (inner > MAX_INLINE_ELEMENTS) return Infinity;
    number += inner;
  }
  return number;
}

export function normalizeLink(url) {
  return markdown.normalizeLink(url);
}
