// Rules for paragraphs, the same as in chat/rendering/: formulas.py, escapes.py, emphasis.py, links.py, tags.py.

// -- formulas ---------------------------------------------------------------------------------------

const FORMULA_MAX_CHARS = 2_000;
export const FORMULA_OPENING = /\\\(|\\\[|\$\$|\\begin\{([A-Za-z]{1,20}\*?)\}/y;
const IN_DOLLARS = /\$(?![\s$])([^$\n`]{0,200}?[^\s$`\\])\$(?![A-Za-z0-9$])/y;
const CLOSINGS = { "\\(": "\\)", "\\[": "\\]", "$$": "$$" };

export function closingOf(opening) {
  return opening[1] ? `\\end{${opening[1]}}` : CLOSINGS[opening[0]];
}

// A formula in a paragraph, kept as written.
export function formulaInline(state, silent) {
  if (!"\\$".includes(state.src[state.pos])) return false;
  const length = formulaLength(state);
  if (!length) return false;
  if (!silent) state.push("formula_inline", "", 0).content = state.src.slice(state.pos, state.pos + length);
  state.pos += length;
  return true;
}

function formulaLength(state) {
  const opening = matchAt(FORMULA_OPENING, state);
  if (opening) {
    const closing = closingOf(opening);
    const rest = state.src.slice(state.pos, Math.min(state.posMax, state.pos + FORMULA_MAX_CHARS));
    const position = rest.indexOf(closing, opening[0].length);
    return position > opening[0].length ? position + closing.length : 0;
  }
  const match = matchAt(IN_DOLLARS, state);
  return match && !/[A-Za-z0-9]/.test(state.src[state.pos - 1] ?? "") ? match[0].length : 0;
}

// Match a sticky expression at the position of `state`, up to the end of its range.
function matchAt(expression, state) {
  expression.lastIndex = state.pos;
  return expression.exec(state.posMax < state.src.length ? state.src.slice(0, state.posMax) : state.src);
}

// -- backslashes ------------------------------------------------------------------------------------

const WORD_CHARS = 200;
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const WORD_START = /[^\s`<>"|*]*$/;
const WORD_REST = /^[^\s`<>"|*]*/;
const SEPARATOR = /\\[A-Za-z0-9]/;
const RELATIVE_PATH = /^\(?(?:\.{1,2}|~|%[A-Za-z0-9_]+%|\$[A-Za-z0-9_:]+)\\/;
const PATH_WITH_SPACES = /(?:[A-Za-z]:|\\\\[A-Za-z0-9])[^\s`<>"|*]*(?: [A-Z0-9(][^\s`<>"|*]*)+$/;
const NAME_CHARS = /^[A-Za-z0-9_.~%)]/;

// A backslash escapes punctuation, except in paths and formulas.
export function escape(state, silent) {
  const { pos, src } = state;
  if (src[pos] !== "\\" || pos + 1 >= state.posMax) return false;
  const following = src[pos + 1];
  if (following === "\n") return lineBreak(state, silent);
  if (!PUNCTUATION.test(following)) return false;
  if (!silent) {
    const token = state.push("text_special", "", 0);
    token.content = "\\()[]{}".includes(following) || isSeparator(state) ? `\\${following}` : following;
    token.markup = `\\${following}`;
    token.info = "escape";
  }
  state.pos += 2;
  return true;
}

function lineBreak(state, silent) {
  if (isSeparator(state)) return false;
  if (!silent) state.push("hardbreak", "br", 0);
  state.pos += 2;
  while (state.pos < state.posMax && " \t".includes(state.src[state.pos])) state.pos += 1;
  return true;
}

function isSeparator({ src, pos, posMax }) {
  const before = src.slice(Math.max(0, pos - WORD_CHARS), pos);
  const word = WORD_START.exec(before)[0] + WORD_REST.exec(src.slice(pos, Math.min(posMax, pos + WORD_CHARS)))[0];
  if (SEPARATOR.test(word) || RELATIVE_PATH.test(word) || PATH_WITH_SPACES.test(before)) return true;
  return src[pos + 1] === "." && NAME_CHARS.test(before.slice(-1)) && NAME_CHARS.test(src.slice(pos + 2, pos + 3));
}

// -- emphasis ---------------------------------------------------------------------------------------

const SPACELESS = /[\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\u{1b000}-\u{1b16f}\u{1f200}-\u{1f2ff}\u{20000}-\u{3ffff}]/u;
const IS_PUNCTUATION = /[\p{P}\p{S}]/u;
const DUNDER = /__[a-z][a-z0-9]*(?:_[a-z0-9]+)*__(?![A-Za-z0-9_])/y;

// A Python name such as `__init__`, which is no emphasis.
export function dunder(state, silent) {
  if (state.src[state.pos] !== "_" || /[A-Za-z0-9_]/.test(state.src[state.pos - 1] ?? "")) return false;
  const match = matchAt(DUNDER, state);
  if (!match) return false;
  if (!silent) state.push("text", "", 0).content = match[0];
  state.pos += match[0].length;
  return true;
}

// Return the library's state with our rule for where `*`, `_` and `~~` open and close emphasis.
export function withEmphasis(State) {
  return class extends State {
    scanDelims(start, canSplitWord) {
      const { src, posMax } = this;
      let end = start;
      while (end < posMax && src[end] === src[start]) end += 1;
      const before = start ? [...src.slice(Math.max(0, start - 2), start)].at(-1) : " ";
      const after = end < posMax ? String.fromCodePoint(src.codePointAt(end)) : " ";
      if (src[start] === "*" && isProduct(before, after)) return { can_open: false, can_close: false, length: end - start };
      const opens = facesText(after, before);
      const closes = facesText(before, after);
      return {
        can_open: opens && (canSplitWord || !closes || IS_PUNCTUATION.test(before)),
        can_close: closes && (canSplitWord || !opens || IS_PUNCTUATION.test(after)),
        length: end - start,
      };
    }
  };
}

function facesText(inner, outer) {
  if (/\s/.test(inner)) return false;
  if (!IS_PUNCTUATION.test(inner) || SPACELESS.test(inner)) return true;
  return /\s/.test(outer) || IS_PUNCTUATION.test(outer) || SPACELESS.test(outer);
}

function isProduct(before, after) {
  return (/[0-9]/.test(before) && /[A-Za-z0-9_]/.test(after)) || (/[A-Za-z0-9_]/.test(before) && /[0-9]/.test(after));
}

// -- links ------------------------------------------------------------------------------------------

const SAFE_URL = /^(?:https?|mailto):./is;
const BEFORE_URL = /(?:^|[^A-Za-z0-9+.-])(https?)$/i;
const MARKS = "\\s<>\"`\\\\，。、；：！？（）「」『』【】〈〉《》〔〕｛｝｡､｢｣“”‘’…";
const URL_REST = new RegExp(`://(?:\\[[0-9A-Fa-f:.]+\\])?[^${MARKS}/?#()\\[\\]{}|^&*'!,;=~+]*(?:[/?#][^${MARKS}]*)?`, "y");
const ASCII_HOST = /:\/\/[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?=[^\x00-\x7f])/y;
const HAS_HOST = /^:\/\/[^\s/?#:.]/;
const TRAILING = "?!.,:;*_~'";
const DEFINITION = /^[ \t]*\[([^[\]\n]{1,200})\]:[ \t]*<?((?:https?:\/\/|mailto:)[^\s<>]+)/i;
const REFERENCE = /\[([^[\]\n]{1,200})\]/g;

export function mayBeFollowed(url) {
  return SAFE_URL.test(url);
}

// A URL that stands in the text without Markdown around it.
export function bareUrl(state, silent) {
  if (silent || state.linkLevel || !state.src.startsWith("://", state.pos)) return false;
  const scheme = BEFORE_URL.exec(state.src.slice(Math.max(0, state.pos - 6), state.pos))?.[1];
  if (!scheme || !state.pending.endsWith(scheme)) return false;
  const rest = withoutTrailing((matchAt(ASCII_HOST, state) ?? matchAt(URL_REST, state))[0]);
  if (!HAS_HOST.test(rest)) return false;
  state.pending = state.pending.slice(0, -scheme.length);
  state.push("link_open", "a", 1).attrSet("href", state.md.normalizeLink(scheme + rest));
  state.push("text", "", 0).content = scheme + rest;
  state.push("link_close", "a", -1);
  state.pos += rest.length;
  return true;
}

function withoutTrailing(url) {
  const count = (character) => url.split(character).length - 1;
  const surplus = { ")": count(")") - count("("), "]": count("]") - count("[") };
  let end = url.length;
  while (end && (TRAILING.includes(url[end - 1]) || surplus[url[end - 1]] > 0)) {
    if (url[end - 1] in surplus) surplus[url[end - 1]] -= 1;
    end -= 1;
  }
  return url.slice(0, end);
}

// Return label and URL of each line that defines a link, such as `[1]: https://example.org "Title"`.
export function definitionsIn(paragraph) {
  const matches = paragraph.split("\n").map((line) => DEFINITION.exec(line)).filter(Boolean);
  return matches.map(([, label, url]) => [normalized(label), url]);
}

// Return pieces of `text`: the `[label]` of a definition with its URL, other text without. `onUnknown(label)`
// is called for each label without a definition.
export function referencesIn(text, definitions, onUnknown) {
  const pieces = [];
  let position = 0;
  for (const match of text.matchAll(REFERENCE)) {
    const label = normalized(match[1]);
    const url = definitions.get(label);
    if (!url) {
      onUnknown(label);
      continue;
    }
    pieces.push([text.slice(position, match.index)], [match[0], url]);
    position = match.index + match[0].length;
  }
  pieces.push([text.slice(position)]);
  return pieces;
}

function normalized(label) {
  return label.toLowerCase().split(/\s+/).filter(Boolean).join(" ");
}

// -- tags -------------------------------------------------------------------------------------------

const TAG_MAX_CHARS = 500;
const BREAK = /<br[ \t]*\/?>[ \t]*\n?[ \t]*/iy;
const OPENING_TAG = /<(sub|sup|kbd)>/iy;

// <br>, <sub>, <sup> and <kbd>.
export function tag(state, silent) {
  if (state.src[state.pos] !== "<") return false;
  const lineBreak = matchAt(BREAK, state);
  if (lineBreak) {
    if (!silent) state.push("hardbreak", "br", 0);
    state.pos += lineBreak[0].length;
    return true;
  }
  return pair(state, silent);
}

function pair(state, silent) {
  const opening = matchAt(OPENING_TAG, state);
  if (!opening) return false;
  const name = opening[1].toLowerCase();
  const start = state.pos + opening[0].length;
  const end = state.posMax;
  const length = state.src.slice(start, Math.min(end, start + TAG_MAX_CHARS)).search(new RegExp(`</${name}>`, "i"));
  if (length < 0) return false;
  if (!silent) {
    [state.pos, state.posMax] = [start, start + length];
    state.push("tag_open", name, 1);
    state.md.inline.tokenize(state);
    state.push("tag_close", name, -1);
    state.posMax = end;
  }
  state.pos = start + length + name.length + 3;
  return true;
}
