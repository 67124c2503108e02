"""Markdown to safe HTML, once, when an answer is final. The same HTML serves chat, no-JS page and admin.

`render` is a ladder. Each step adds one concern, and each step that fails leaves the text readable:

    render        never raises, cleans what no page can carry
    _where        here; a text that is long, or takes long, in a child process, which can be killed
    _to_html      Markdown to HTML, with a deadline that is looked at between two steps of the parser
    _sanitised    whatever came out, only what the page knows goes through
    _plain        where one of them gave up: the text as it is, escaped

Three things are bounded: time (a hostile text can make a parser go back over it again and again),
depth (recursion), and what may come out (raw HTML is shown as text; images become links, for a remote
image would tell a stranger who reads what and when; links lead to http, https and mailto only).

This file knows neither Django nor the database: the child imports it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token as MarkdownToken
from markdown_it.utils import EnvType, OptionsDict
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token

from chat.text import clean

logger = logging.getLogger(__name__)

# 1 MB takes about 2 s of the interpreter lock, during which no other answer moves.
CHILD_ABOVE_CHARS = 200_000
# Above this no page could show it as anything but plain text, and a second copy of it is not stored.
RENDERED_MAX_CHARS = 2_000_000
# A long answer of 20 kB takes 50 ms.
TIME_LIMIT_S = 0.5
CHILD_TIME_LIMIT_S = 10.0
# Pygments works by regular expressions. One that runs away holds the interpreter lock where no deadline
# helps (49 kB of ` a` as Java: 112 s), and most take time by the square of what they are given. So what
# is long is coloured in the child, and what is very long not at all: code is there without colours, too.
COLOURED_HERE_MAX_CHARS = 10_000
COLOURED_HERE_MAX_LINE_CHARS = 500
COLOURED_MAX_CHARS = 50_000
# Below this the parser leaves text out; deeper texts are shown as they are.
MAX_NESTING = 40

_SCHEMES = frozenset({"http", "https", "mailto"})
_BARE_URL = re.compile(r"\bhttps?://[^\s<>\"'`]+")
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")
_MIDDLE_OF_FENCE = re.compile(r"[\s,:{]")

# -- what may come out ----------------------------------------------------------------------------

# Our names for kinds of code, each for a subtree of Pygments' tokens: static/chat/highlight.css.
_CLASSES = {
    Token.Comment: "c",
    Token.Comment.Preproc: "cp",
    Token.Keyword: "k",
    Token.Keyword.Type: "nc",
    Token.Operator.Word: "k",
    Token.Literal.String: "s",
    Token.Literal.Number: "m",
    Token.Literal.Date: "m",
    Token.Name.Function: "nf",
    Token.Name.Class: "nc",
    Token.Name.Exception: "nc",
    Token.Name.Namespace: "nc",
    Token.Name.Builtin: "nb",
    Token.Name.Constant: "nb",
    Token.Name.Decorator: "nd",
    Token.Name.Tag: "nt",
    Token.Name.Attribute: "na",
    Token.Name.Variable: "nv",
    Token.Generic.Heading: "gh",
    Token.Generic.Subheading: "gh",
    Token.Generic.Inserted: "gi",
    Token.Generic.Deleted: "gd",
}
_ALLOWED_CLASSES = {
    "div": {"code", "table"},
    "pre": {"plain"},
    "span": set(_CLASSES.values()),
    "th": {"center", "right"},
    "td": {"center", "right"},
}
_BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table", "pre"}
_ALLOWED_TAGS = _BLOCKS | {
    *("li", "thead", "tbody", "tr", "th", "td", "div", "span"),
    *("hr", "br", "strong", "em", "s", "code", "a"),
}
_ALLOWED_ATTRIBUTES = {"*": set[str](), "a": {"href", "title"}, "ol": {"start"}, "div": {"data-language"}}
_ALLOWED_VALUES: dict[str, dict[str, set[str]]] = {
    **{tag: {"dir": {"auto"}} for tag in _BLOCKS},
    "div": {"dir": {"ltr"}, "tabindex": {"0"}},
    "pre": {"dir": {"auto"}, "tabindex": {"0"}},
}
_cleaner = nh3.Cleaner(
    tags=_ALLOWED_TAGS,
    attributes=_ALLOWED_ATTRIBUTES,
    tag_attribute_values=_ALLOWED_VALUES,
    allowed_classes=_ALLOWED_CLASSES,
    url_schemes=set(_SCHEMES),
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


def _sanitised(unsafe: str) -> str:
    return _cleaner.clean(unsafe)


# -- the doors ------------------------------------------------------------------------------------

# Threads of its own: a long text must hold up neither the event loop nor the database's threads.
# More than there are cores, because some of them only wait for a child.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="rendering")


async def arender(text: str) -> str:
    """`render`, off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(_threads, render, text)


def render(text: str) -> str:
    """Return `text`, which is Markdown, as HTML that is safe to put into a page. Never raises.

    Takes at most TIME_LIMIT_S and CHILD_TIME_LIMIT_S together, about; a text that would take longer
    comes back as it is, escaped. Of a text above RENDERED_MAX_CHARS nothing comes back.
    """
    if len(text) > RENDERED_MAX_CHARS:
        return ""
    text = clean(text)
    try:
        return _where(text)
    except Exception as exc:  # noqa: BLE001  # an answer that cannot be drawn nicely is still shown
        # Neither the message nor a traceback: both may quote what a person wrote.
        logger.warning("A text of %s characters is shown as it is: %s", len(text), type(exc).__name__)
        return _plain(text)


def _where(text: str) -> str:
    if len(text) <= CHILD_ABOVE_CHARS:
        with contextlib.suppress(TooSlow):
            return _to_html(text, Deadline(TIME_LIMIT_S))
    return _in_child(text)


def _in_child(text: str) -> str:
    """Render in a process of its own. Raises OSError, subprocess.SubprocessError."""
    child = subprocess.run(  # our own interpreter on our own module; the text goes by stdin
        [sys.executable, "-m", "chat.rendering.markdown"],
        cwd=Path(__file__).resolve().parents[2],
        # It is given a stranger's text and needs none of our secrets.
        env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        input=text.encode(),
        capture_output=True,
        timeout=CHILD_TIME_LIMIT_S,
        check=True,
    )
    return child.stdout.decode()


def _plain(text: str) -> str:
    return f'<pre class="plain" dir="auto">{_escaped(text)}</pre>'


# -- Markdown -------------------------------------------------------------------------------------


class TooSlow(Exception):
    pass


class TooDeep(Exception):
    pass


class Deadline:
    """Raises TooSlow when looked at too late."""

    def __init__(self, time_limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + time_limit_s

    def check(self) -> None:
        if self._clock() > self._ends_at:
            raise TooSlow


def _to_html(text: str, deadline: Deadline, *, colours: Deadline | None = None) -> str:
    """Raises TooSlow, TooDeep, RecursionError.

    `colours` says that this is the child: code may take long, and has none after that deadline.
    """
    markdown = _parser(deadline)
    return _sanitised(markdown.render(text, {"deadline": deadline, "colours": colours}))


def _parser(deadline: Deadline) -> MarkdownIt:
    """Return a parser for one text: the deadline is its own."""
    markdown = MarkdownIt(
        "commonmark",
        # A line break stays one: models write addresses and verse, and the page that shows
        # the answer while it is written breaks there, too.
        {"html": False, "breaks": True, "xhtmlOut": False, "maxNesting": MAX_NESTING},
        renderer_cls=_Renderer,
    ).enable(["table", "strikethrough"])
    markdown.disable(["html_block", "html_inline"])
    markdown.validateLink = _is_link  # type: ignore[method-assign]

    # The first rule of each ruler is tried at every step: a place to look at the clock.
    def look_at_clock_in_blocks(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        deadline.check()
        if state.level >= MAX_NESTING - 2:
            raise TooDeep
        return False

    def look_at_clock_inline(state: StateInline, silent: bool) -> bool:
        deadline.check()
        return False

    def look_at_clock_in_core(state: StateCore) -> None:
        deadline.check()

    markdown.block.ruler.before("table", "clock", look_at_clock_in_blocks, {"alt": ["paragraph", "list"]})
    markdown.inline.ruler.before("text", "clock", look_at_clock_inline)
    markdown.core.ruler.push("clock", look_at_clock_in_core)
    markdown.core.ruler.push("links", _make_links)
    markdown.core.ruler.push("directions", _set_directions)
    return markdown


def _is_link(url: str) -> bool:
    """Whether `url` may be followed. A path would lead into this site, where no model has business."""
    scheme, colon, rest = url.partition(":")
    return bool(colon and rest) and scheme.lower() in _SCHEMES


def _make_links(state: StateCore) -> None:
    """Turn images, and URLs that stand in the text, into links."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(_linked(token.children))


def _linked(tokens: Sequence[MarkdownToken]) -> Iterable[MarkdownToken]:
    is_in_link = False
    for token in tokens:
        if token.type in {"link_open", "link_close"}:
            is_in_link = token.type == "link_open"
            yield token
        elif token.type == "image":
            url = str(token.attrs["src"])
            label = token.content.strip() or url
            yield from [_text(label)] if is_in_link else _link(url, label)
        elif token.type == "text" and not is_in_link:
            yield from _linked_text(token.content)
        else:
            yield token


def _linked_text(text: str) -> Iterable[MarkdownToken]:
    end = 0
    for match in _BARE_URL.finditer(text):
        url = _without_punctuation(match[0])
        yield _text(text[end : match.start()])
        yield from _link(url, url)
        end = match.start() + len(url)
    yield _text(text[end:])


def _without_punctuation(url: str) -> str:
    """Leave off what ends the sentence or closes the bracket around a URL, not what belongs to it."""
    end = len(url)
    surplus = url.count(")") - url.count("(")
    while end and (url[end - 1] in ".,:;!?*_~]}" or (url[end - 1] == ")" and surplus > 0)):
        surplus -= url[end - 1] == ")"
        end -= 1
    return url[:end]


def _link(url: str, label: str) -> list[MarkdownToken]:
    return [
        MarkdownToken("link_open", "a", 1, attrs={"href": url}),
        _text(label),
        MarkdownToken("link_close", "a", -1),
    ]


def _text(content: str) -> MarkdownToken:
    return MarkdownToken("text", "", 0, content=content)


def _set_directions(state: StateCore) -> None:
    """Let each outermost block run the way its text does; what is inside follows it."""
    for token in state.tokens:
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")


class _Renderer(RendererHTML):
    """Writes HTML; its methods are named after the tokens they write, as the library wants it."""

    def fence(self, tokens: Sequence[MarkdownToken], i: int, options: OptionsDict, env: EnvType) -> str:
        language, code = _language(tokens[i].info), tokens[i].content
        deadline, colours = env["deadline"], env["colours"]
        if colours is None:
            _check_length(code, language)
            return _code(language, _coloured(code, language, deadline))
        try:
            return _code(language, _coloured(code, language, colours))
        except TooSlow:
            return _code(language, _escaped(code))

    def code_block(self, tokens: Sequence[MarkdownToken], i: int, options: OptionsDict, env: EnvType) -> str:
        return _code("", _escaped(tokens[i].content))

    def table_open(self, tokens: Sequence[MarkdownToken], i: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="table" tabindex="0">' + self.renderToken(tokens, i, options, env)

    def table_close(self, tokens: Sequence[MarkdownToken], i: int, options: OptionsDict, env: EnvType) -> str:
        return self.renderToken(tokens, i, options, env) + "</div>\n"

    def td_open(self, tokens: Sequence[MarkdownToken], i: int, options: OptionsDict, env: EnvType) -> str:
        # The library aligns by a style attribute, which our pages do not allow.
        style = str(tokens[i].attrs.pop("style", ""))
        alignment = style.removeprefix("text-align:")
        if alignment in {"center", "right"}:
            tokens[i].attrSet("class", alignment)
        return self.renderToken(tokens, i, options, env)

    th_open = td_open


# -- code -----------------------------------------------------------------------------------------

# Pygments knows 600 languages. These are the ones that models write, and whose lexers took well below a
# second for each of a hundred hostile texts of COLOURED_HERE_MAX_CHARS; MATLAB's took four.
_LANGUAGES = """
bash c c# c++ clojure cmake console cpp cs csharp css dart diff django docker dockerfile elixir elm erlang f#
fsharp go golang graphql haskell hcl html http ini java javascript jinja js json json5 jsonc jsx julia kotlin
latex less lua make makefile markdown md nginx nix objc objective-c ocaml patch perl php postgres
postgresql powershell prolog proto protobuf ps1 py pycon python python3 r rb rs ruby rust sass scala scheme
scss sh shell shell-session sql sqlite svg swift terraform tex toml ts tsx typescript vim vue xml yaml yml zig
zsh
"""
_LEXERS = frozenset(_LANGUAGES.split())
# Names that people use and Pygments does not know.
_ALIASES = {"jsonc": "json", "patch": "diff", "sqlite": "sqlite3", "svg": "xml"}


def _language(info: str) -> str:
    """Return the name in a fence's info string, such as `python` in `python title="x"`; else nothing."""
    name = _MIDDLE_OF_FENCE.split(info.strip(), maxsplit=1)[0]
    return name.lower() if _LANGUAGE.fullmatch(name) else ""


def _code(language: str, safe: str) -> str:
    # Code runs from left to right in every language of people.
    return (
        f'<div class="code" dir="ltr" data-language="{html.escape(language)}">'
        f'<pre tabindex="0"><code>{safe}</code></pre></div>\n'
    )


def _escaped(code: str) -> str:
    return html.escape(code, quote=False)


def _check_length(code: str, language: str) -> None:
    """Raises TooSlow for code that might be."""
    if not _has_colours(code, language):
        return
    if len(code) > COLOURED_HERE_MAX_CHARS or max(map(len, code.split("\n"))) > COLOURED_HERE_MAX_LINE_CHARS:
        raise TooSlow


def _has_colours(code: str, language: str) -> bool:
    return language in _LEXERS and len(code) <= COLOURED_MAX_CHARS


def _coloured(code: str, language: str, deadline: Deadline) -> str:
    """Raises TooSlow."""
    if not _has_colours(code, language):
        return _escaped(code)
    return "".join(_spans(_lexer(language), code, deadline))


@lru_cache(maxsize=256)
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(_ALIASES.get(language, language), stripnl=False, ensurenl=False)


def _spans(lexer: Lexer, code: str, deadline: Deadline) -> Iterable[str]:
    for name, run in groupby(lexer.get_tokens(code), key=lambda token: _class(token[0])):
        deadline.check()
        text = _escaped("".join(piece for _kind, piece in run))
        yield f'<span class="{name}">{text}</span>' if name and not text.isspace() else text


@lru_cache(maxsize=512)
def _class(kind: object) -> str:
    """Return the class of a Pygments token type: its own, or the nearest ancestor's."""
    while kind is not None:
        if kind in _CLASSES:
            return _CLASSES[kind]
        kind = getattr(kind, "parent", None)
    return ""


if __name__ == "__main__":  # the child of _in_child
    html_ = _to_html(
        sys.stdin.buffer.read().decode(),
        Deadline(CHILD_TIME_LIMIT_S * 0.9),
        colours=Deadline(CHILD_TIME_LIMIT_S * 0.4),
    )
    sys.stdout.buffer.write(html_.encode())
