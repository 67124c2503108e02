// Limits of what is rendered, the same as in chat/rendering/limits.py, which says why.

export const MAX_NESTING = 40;
export const MAX_INLINE_NESTING = 20;
export const MAX_BLOCK_CHARS = 65_536;
export const MAX_INLINE_CHARS = 10_000;
export const MAX_BRACKETS = 300;
export const MAX_INLINE_ELEMENTS = 1_000;
export const MAX_COLUMNS = 100;
export const MAX_BLOCK_ELEMENTS = 3_000;
export const MAX_ELEMENTS = 8_000;
export const PART_CHARS = 8_192;
export const MAX_CHARS = 1_000_000;

// Return `text` in parts of at most PART_CHARS, which end at a line break if there is one.
export function parts(text) {
  const found = [];
  let position = 0;
  while (text.length - position > PART_CHARS) {
    const lineEnd = text.lastIndexOf("\n", position + PART_CHARS - 1) + 1;
    const end = lineEnd > position ? lineEnd : position + PART_CHARS;
    found.push(text.slice(position, end));
    position = end;
  }
  found.push(text.slice(position));
  return found;
}
