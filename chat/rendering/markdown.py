"""Convert Markdown to safe HTML within a deadline and the limits of a browser."""

from collections.abc import Iterable
from itertools import pairwise

from markdown_it import MarkdownIt

from chat.rendering.blocks import Block, blocks, normalize
from chat.rendering.deadline import Deadline
from chat.rendering.grammar import parse_inline, parser
from chat.rendering.highlight import Painter
from chat.rendering.limits import MAX_BLOCK_ELEMENTS, MAX_ELEMENTS
from chat.rendering.links import definitions_in
from chat.rendering.mathml import FormulaWriter
from chat.rendering.sanitize import sanitize
from chat.rendering.writer import BlockWriter, can_be_parsed, elements_of, plain


def to_html(
    text: str, deadline: Deadline, *, highlight_deadline: Deadline | None = None, is_coloured: bool = True
) -> str:
    """Return Markdown `text` as sanitized HTML. Raises DeadlineExceeded.

    A block that exceeds a limit is shown as plain text. Without `highlight_deadline`, code that may be slow
    to highlight raises DeadlineExceeded. The child process passes one: code that exceeds it has no colours.
    No code has any unless `is_coloured`.
    """
    markdown = parser(deadline)
    found = list(blocks(markdown, normalize(text)))
    writer = BlockWriter(
        _definitions(markdown, found),
        Painter(deadline, highlight_deadline, is_coloured=is_coloured).paint,
        FormulaWriter(deadline),
    )
    return sanitize("".join(_html(markdown, found, writer)))


def _html(markdown: MarkdownIt, found: list[Block], writer: BlockWriter) -> Iterable[str]:
    total = 0
    for index, block in enumerate(found):
        number = _parse(markdown, block)
        if number > MAX_BLOCK_ELEMENTS:
            yield plain(block.source) + "\n"
            continue
        total += number
        if total > MAX_ELEMENTS:
            yield plain("".join(each.source for each in found[index:])) + "\n"
            return
        yield writer.html_of(block.tokens)


def _parse(markdown: MarkdownIt, block: Block) -> int:
    """Parse the paragraphs of a block and return the number of its elements."""
    if not block.tokens or not can_be_parsed(block.tokens):
        return MAX_BLOCK_ELEMENTS + 1
    parse_inline(markdown, block.tokens)
    return elements_of(block.tokens)


def _definitions(markdown: MarkdownIt, found: list[Block]) -> dict[str, str]:
    """Return the URLs of defined labels; the first definition of a label is valid."""
    urls: dict[str, str] = {}
    for block in found:
        for opening, token in pairwise(block.tokens):
            if opening.type == "paragraph_open":
                for label, url in definitions_in(token.content):
                    urls.setdefault(label, markdown.normalizeLink(url))
    return urls
