"""Convert Markdown to safe HTML within a deadline."""

import html
import re
from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from chat.rendering.deadline import Deadline, DeadlineExceeded
from chat.rendering.highlight import escape, highlight, may_be_slow
from chat.rendering.links import BareUrls, images_to_links, may_be_followed
from chat.rendering.sanitize import sanitize

# Below this depth the parser leaves text out; deeper texts are shown unrendered.
MAX_NESTING = 40

_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")
_END_OF_LANGUAGE = re.compile(r"[\s,:{]")


class NestingTooDeep(Exception):
    """The text nests blocks deeper than MAX_NESTING."""


def to_html(text: str, deadline: Deadline, *, highlight_deadline: Deadline | None = None) -> str:
    """Return Markdown `text` as sanitized HTML. Raises DeadlineExceeded, NestingTooDeep, RecursionError.

    Without `highlight_deadline`, code that may be slow to highlight raises DeadlineExceeded. The child
    process passes one: code that exceeds it has no colours.
    """
    markdown = _parser(deadline)
    return sanitize(markdown.render(text, {"deadline": deadline, "highlight_deadline": highlight_deadline}))


def _parser(deadline: Deadline) -> MarkdownIt:
    """Return a parser for one text, which checks `deadline`."""
    markdown = MarkdownIt(
        "commonmark",
        # A line break stays one: models write addresses and verse, and the page that shows
        # the answer while it is written breaks there, too.
        {"html": False, "breaks": True, "xhtmlOut": False, "linkify": True, "maxNesting": MAX_NESTING},
        renderer_cls=_Renderer,
    ).enable(["table", "strikethrough"])
    markdown.disable(["html_block", "html_inline"])
    markdown.validateLink = may_be_followed  # type: ignore[method-assign]
    # A URL is shown as the model wrote it; the library would decode escapes and punycode in it.
    markdown.normalizeLinkText = str  # type: ignore[method-assign,assignment]
    markdown.linkify = BareUrls()
    markdown.inline.ruler.enable(["linkify"])
    _check_deadline_at_every_step(markdown, deadline)
    markdown.core.ruler.push("images", images_to_links)
    markdown.core.ruler.push("directions", _set_directions)
    return markdown


def _check_deadline_at_every_step(markdown: MarkdownIt, deadline: Deadline) -> None:
    """Add rules that match nothing. The parser tries the first rule of each ruler at every step."""

    def check_in_blocks(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        deadline.check()
        if state.level >= MAX_NESTING - 2:
            raise NestingTooDeep
        return False

    def check_inline(state: StateInline, silent: bool) -> bool:
        deadline.check()
        return False

    def check_in_core(state: StateCore) -> None:
        deadline.check()

    markdown.block.ruler.before("table", "deadline", check_in_blocks, {"alt": ["paragraph", "list"]})
    markdown.inline.ruler.before("text", "deadline", check_inline)
    markdown.core.ruler.push("deadline", check_in_core)


def _set_directions(state: StateCore) -> None:
    """Set the text direction of each outermost block from its text; inner blocks inherit it."""
    for token in state.tokens:
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")


class _Renderer(RendererHTML):
    """Write HTML. The library requires that methods are named after the tokens they write."""

    def fence(self, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
        code, language = tokens[i].content, _language(tokens[i].info)
        deadline = env["highlight_deadline"]
        if deadline is None:
            if may_be_slow(code, language):
                raise DeadlineExceeded
            return _code_block(language, highlight(code, language, env["deadline"]))
        try:
            return _code_block(language, highlight(code, language, deadline))
        except DeadlineExceeded:
            return _code_block(language, escape(code))

    def code_block(self, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
        return _code_block("", escape(tokens[i].content))

    def table_open(self, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="table" tabindex="0">' + self.renderToken(tokens, i, options, env)

    def table_close(self, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
        return self.renderToken(tokens, i, options, env) + "</div>\n"

    def td_open(self, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
        # The library aligns by a style attribute, which our Content-Security-Policy forbids.
        style = str(tokens[i].attrs.pop("style", ""))
        alignment = style.removeprefix("text-align:")
        if alignment in {"center", "right"}:
            tokens[i].attrSet("class", alignment)
        return self.renderToken(tokens, i, options, env)

    th_open = td_open


def _language(info: str) -> str:
    """Return the language in a fence's info string, such as `python` in `python title="x"`, or ""."""
    name = _END_OF_LANGUAGE.split(info.strip(), maxsplit=1)[0]
    return name.lower() if _LANGUAGE.fullmatch(name) else ""


def _code_block(language: str, safe_code: str) -> str:
    # Code runs from left to right, also in text that runs from right to left.
    return (
        f'<div class="code" dir="ltr" data-language="{html.escape(language)}">'
        f'<pre tabindex="0"><code>{safe_code}</code></pre></div>\n'
    )
