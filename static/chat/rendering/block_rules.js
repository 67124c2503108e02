// Rules for blocks, the same as in chat/rendering/: fences.py, tables.py, formulas.py.

import { closingOf, FORMULA_OPENING } from "./inline_rules.js";
import { MAX_BLOCK_ELEMENTS, MAX_COLUMNS } from "./limits.js";

// -- fenced code ------------------------------------------------------------------------------------

const FENCE = /(`{3,}|~{3,})[ \t]*([^\n]*)/y;
const LANGUAGE_ONLY = /^[A-Za-z0-9_+#.-]{1,30}$/;
const END_OF_LANGUAGE = /[\s,:{]/;
const TEXT_LANGUAGES = new Set(["", "markdown", "md", "mdx", "text", "txt", "plaintext"]);
const HEADING_OR_COLON = /^(?:#{1,6}\s|.*[:：]\s*$)/;

// Fenced code; a block in it does not end it.
export function fence(state, start, end, silent) {
  const opening = fenceAt(state, start);
  if (!opening || (opening.marker[0] === "`" && opening.info.includes("`"))) return false;
  if (silent) return true;
  const [last, isClosed] = endOfFence(state, opening, start, end);
  state.line = last + Number(isClosed);
  const token = state.push("fence", "code", 0);
  token.info = opening.info;
  token.content = state.getLines(start + 1, last, state.sCount[start], true);
  token.markup = opening.marker;
  token.map = [start, state.line];
  return true;
}

export function languageOf(info) {
  const name = info.trim().split(END_OF_LANGUAGE, 1)[0];
  return LANGUAGE_ONLY.test(name) ? name.toLowerCase() : "";
}

function endOfFence(state, opening, start, end) {
  const open = [opening];
  for (let line = start + 1; line < end; line++) {
    if (!state.isEmpty(line) && state.sCount[line] < state.blkIndent) return [line, false];
    const found = fenceAt(state, line);
    if (!found) continue;
    if (opens(state, found, open, line, end)) {
      open.push(found);
    } else if (found.marker.startsWith(open.at(-1).marker) && !found.info) {
      open.pop();
      if (!open.length) return [line, true];
    }
  }
  return [end, false];
}

function opens(state, found, open, line, end) {
  const innermost = open.at(-1);
  if (found.marker[0] !== innermost.marker[0] || found.info.includes("`")) return false;
  if (found.marker.length < open[0].marker.length) return false;
  const holdsText = TEXT_LANGUAGES.has(languageOf(innermost.info));
  if (found.info) return LANGUAGE_ONLY.test(found.info) && (open.length === 1 || holdsText);
  if (!holdsText || languageOf(innermost.info) === "") return false;
  const isBeforeText = line + 1 < end && !state.isEmpty(line + 1);
  return isBeforeText && (state.isEmpty(line - 1) || HEADING_OR_COLON.test(lineOf(state, line - 1)));
}

function fenceAt(state, line) {
  if (isIndentedCode(state, line)) return null;
  FENCE.lastIndex = state.bMarks[line] + state.tShift[line];
  const match = FENCE.exec(state.src);
  return match && { marker: match[1], info: match[2].replace(/^[ \t]+|[ \t]+$/g, "") };
}

// -- tables -----------------------------------------------------------------------------------------

const DELIMITER_ROW = /^(?=.*[|:])\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const BACKTICKS_OR_PIPE = /\\?\||\\?`+/g;

// A table in which no word of a row is left out.
export function table(state, start, end, silent) {
  if (start + 2 > end || state.sCount[start + 1] < state.blkIndent) return false;
  if (isIndentedCode(state, start) || isIndentedCode(state, start + 1)) return false;
  const delimiters = lineOf(state, start + 1).trim();
  const header = lineOf(state, start).trim();
  if (!header.includes("|") || !DELIMITER_ROW.test(delimiters)) return false;
  const alignments = delimiters.replace(/^[| \t]+|[| \t]+$/g, "").split("|").map(alignment);
  const names = cellsOf(header);
  if (names.length !== alignments.length || names.length > MAX_COLUMNS) return false;
  if (!silent) pushTable(state, start, lastLine(state, start, end), names, alignments);
  return true;
}

function cellsOf(row) {
  const ends = separators(row);
  const cells = [...ends, row.length].map((end, index) =>
    row.slice(index ? ends[index - 1] + 1 : 0, end).replaceAll("\\|", "|").trim());
  if (cells.length > 1 && !cells.at(-1)) cells.pop();
  if (cells.length > 1 && !cells[0]) cells.shift();
  return cells;
}

function separators(row) {
  const marks = [...row.matchAll(BACKTICKS_OR_PIPE)];
  const found = [];
  for (let index = 0; index < marks.length; index++) {
    const mark = marks[index][0];
    if (mark === "|") {
      found.push(marks[index].index);
    } else if (mark[0] === "`") {
      const closing = marks.findIndex((each, later) => later > index && each[0].replace(/^\\/, "") === mark);
      if (closing > 0) index = closing;
    }
  }
  return found;
}

function alignment(delimiter) {
  const text = delimiter.trim();
  if (!text.endsWith(":")) return "";
  return text.startsWith(":") ? "center" : "right";
}

function lastLine(state, start, end) {
  const terminators = state.md.block.ruler.getRules("blockquote");
  for (let line = start + 2; line < end; line++) {
    if (state.sCount[line] < state.blkIndent || state.isEmpty(line) || isIndentedCode(state, line)) return line;
    if (terminators.some((rule) => rule(state, line, end, true))) return line;
  }
  return end;
}

function pushTable(state, start, last, names, alignments) {
  state.push("table_open", "table", 1).map = [start, last];
  if ((last - start) * (names.length + 1) > MAX_BLOCK_ELEMENTS) state.push("too_complex", "", 0);
  else pushRows(state, start, last, names, alignments);
  state.push("table_close", "table", -1);
  state.line = last;
}

function pushRows(state, start, last, names, alignments) {
  state.push("thead_open", "thead", 1);
  pushRow(state, "th", names, alignments);
  state.push("thead_close", "thead", -1);
  if (last <= start + 2) return;
  state.push("tbody_open", "tbody", 1);
  for (let line = start + 2; line < last; line++) pushRow(state, "td", cellsOf(lineOf(state, line).trim()), alignments);
  state.push("tbody_close", "tbody", -1);
}

function pushRow(state, tag, cells, alignments) {
  const rest = alignments.length - 1;
  cells.splice(rest, Infinity, cells.slice(rest).join(" | "));
  state.push("tr_open", "tr", 1);
  alignments.forEach((each, column) => {
    const cell = state.push(`${tag}_open`, tag, 1);
    if (each) cell.attrSet("class", each);
    const token = state.push("inline", "", 0);
    token.content = cells[column] ?? "";
    token.children = [];
    state.push(`${tag}_close`, tag, -1);
  });
  state.push("tr_close", "tr", -1);
}

// -- formulas ---------------------------------------------------------------------------------------

const ENDS_BLOCK = /^[.,;:]?\s*$/;

// A formula that begins a line. Its first line alone decides whether it is one.
export function formulaBlock(state, start, end, silent) {
  if (isIndentedCode(state, start)) return false;
  const line = lineOf(state, start);
  FORMULA_OPENING.lastIndex = 0;
  const opening = FORMULA_OPENING.exec(line);
  if (!opening || opening[0] === "\\(") return false;
  const closing = closingOf(opening);
  const position = line.indexOf(closing, opening[0].length);
  if (position >= 0 && !ENDS_BLOCK.test(line.slice(position + closing.length))) return false;
  if (silent) return true;
  const last = position >= 0 ? start + 1 : lineAfter(state, start, end, closing);
  const token = state.push("formula_block", "", 0);
  token.content = state.getLines(start, last, state.sCount[start], false).trim();
  token.map = [start, last];
  state.line = last;
  return true;
}

function lineAfter(state, start, end, closing) {
  for (let line = start + 1; line < end; line++) {
    if (state.isEmpty(line) || state.sCount[line] < state.blkIndent) return line;
    if (lineOf(state, line).includes(closing)) return line + 1;
  }
  return end;
}

function isIndentedCode(state, line) {
  return state.sCount[line] - state.blkIndent >= 4;
}

function lineOf(state, line) {
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}
