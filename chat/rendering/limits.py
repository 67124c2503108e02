"""Limits of what is rendered, so that no text can freeze or crash the browser that shows it.

A block that exceeds a limit is shown as plain text; so is everything after MAX_ELEMENTS and MAX_CHARS.
static/chat/rendering/limits.js has the same values, so that an answer looks the same while it is written.
Lengths are characters here and UTF-16 units there, which only differ for emoji and rare scripts.
"""

# Levels of nested blocks. Chromium crashes at some thousands; a nested list takes two levels.
MAX_NESTING = 40
# Levels of nested emphasis, links and tags in one paragraph.
MAX_INLINE_NESTING = 20
# A longer block that is not code is cut: it would be parsed anew with each frame while it is written.
MAX_BLOCK_CHARS = 65_536
# A paragraph or table cell.
MAX_INLINE_CHARS = 10_000
# Each `[` may start a link, for which the parser reads on to the end of the paragraph.
MAX_BRACKETS = 300
# Elements of one paragraph or cell.
MAX_INLINE_ELEMENTS = 1_000
MAX_COLUMNS = 100
# Elements of one block: layout of a table of this size takes 50 ms.
MAX_BLOCK_ELEMENTS = 3_000
# Elements of all blocks of a text: layout of 15,000 takes 200 ms.
MAX_ELEMENTS = 8_000
# Plain text and code are divided into boxes of this size. The browser lays out those in view.
PART_CHARS = 8_192
# Text beyond it is plain.
MAX_CHARS = 1_000_000
