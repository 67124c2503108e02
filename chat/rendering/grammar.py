"""The grammar of answers: CommonMark with tables and strikethrough, and the rules of this package.

static/chat/rendering/ has the same grammar for the page, which shows an answer while it is written.
tests/rendering/test_both_views.py compares them. What differs from CommonMark, so that no word of a model
is lost: definitions of links stay visible, `|` in code does not end a table cell, a table row keeps all its
cells, backslashes of paths and formulas stay, blocks of code may contain blocks, items keep their numbers.
"""

from copy import copy
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from chat.rendering.deadline import Deadline
from chat.rendering.emphasis import InlineParser, dunder
from chat.rendering.escapes import escape
from chat.rendering.fences import fence
from chat.rendering.formulas import formula_block, formula_inline
from chat.rendering.limits import MAX_INLINE_NESTING, MAX_NESTING
from chat.rendering.links import bare_url, may_be_followed
from chat.rendering.tables import table
from chat.rendering.tags import tag


class TextParser(MarkdownIt):
    """A parser for one text. It shares its rules with those for other texts."""

    deadline: Deadline


def parser(deadline: Deadline) -> TextParser:
    """Return a parser for one text, which checks `deadline`."""
    markdown = copy(_parser())
    markdown.deadline = deadline
    return markdown


@cache
def _parser() -> TextParser:
    """Return what parsers have in common: setting up the rules takes longer than parsing a short text."""
    markdown = TextParser(
        "commonmark",
        {"html": False, "linkify": False, "maxNesting": MAX_NESTING + MAX_INLINE_NESTING},
    )
    markdown.inline = InlineParser()
    markdown.validateLink = may_be_followed  # type: ignore[method-assign]
    # A URL is shown as the model wrote it; the library would decode escapes and punycode in it.
    markdown.normalizeLinkText = str  # type: ignore[method-assign,assignment]
    _set_block_rules(markdown)
    _set_inline_rules(markdown)
    # Compiles the rules. The library would at first use, where two threads could disturb each other.
    for ruler in (markdown.core.ruler, markdown.block.ruler, markdown.inline.ruler, markdown.inline.ruler2):
        ruler.getRules("")
    return markdown


def parse_inline(markdown: MarkdownIt, tokens: list[Token]) -> None:
    """Parse the paragraphs, headings and cells among `tokens`."""
    markdown.core.process(StateCore("", markdown, {}, tokens))


def _set_block_rules(markdown: MarkdownIt) -> None:
    ruler = markdown.block.ruler
    ruler.at("table", table, {"alt": ["paragraph"]})
    ruler.at("fence", fence, {"alt": ["paragraph", "blockquote", "list"]})
    ruler.before("fence", "formula", formula_block, {"alt": ["paragraph", "blockquote"]})
    ruler.enable(["table"])
    ruler.disable(["reference", "html_block"])
    ruler.before("table", "limits", _check_in_blocks)


def _set_inline_rules(markdown: MarkdownIt) -> None:
    ruler = markdown.inline.ruler
    ruler.at("escape", escape)
    ruler.before("escape", "formula", formula_inline)
    ruler.before("emphasis", "dunder", dunder)
    ruler.at("linkify", bare_url)
    ruler.at("html_inline", tag)
    ruler.enable(["linkify", "strikethrough"])
    ruler.before("text", "limits", _check_inline)
    markdown.inline.ruler2.enable(["strikethrough"])
    # Blocks are parsed apart, one after the other.
    markdown.core.ruler.disable(["normalize", "block"])


def _check_in_blocks(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Check the deadline and the limits; the parser tries this first at every step."""
    _check_deadline(state.md)
    if state.level < MAX_NESTING or silent:
        return False
    # The whole block will be shown as plain text, so its other lines are not read.
    state.push("too_complex", "", 0)
    state.line = end
    return True


def _check_inline(state: StateInline, silent: bool) -> bool:
    """Check the deadline; the parser tries this first at every step."""
    _check_deadline(state.md)
    return False


def _check_deadline(markdown: MarkdownIt) -> None:
    assert isinstance(markdown, TextParser)
    markdown.deadline.check()
