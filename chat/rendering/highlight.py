"""Syntax highlighting of code blocks, with classes that static/chat/prose.css gives colours.

Pygments works by regular expressions. One that runs away holds the interpreter lock where no deadline
helps (49 kB of ` a` as Java: 112 s), and most take time by the square of the length. So long code is
highlighted in the child process, and very long code not at all.
"""

import html
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token

from chat.rendering.deadline import Deadline, DeadlineExceeded
from chat.rendering.parts import in_parts, parts

IN_PROCESS_MAX_CHARS = 10_000
IN_PROCESS_MAX_LINE_CHARS = 500
MAX_CHARS = 50_000
# Asks the child process for code without colours, because a lexer ran away.
NO_COLOURS = "--no-colours"
# Coloured pieces of all code of a text; layout of 15,000 takes 100 ms.
MAX_SPANS = 15_000

# Our names for kinds of code, each for a subtree of Pygments' tokens.
CLASSES = {
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

# Pygments knows 600 languages. These are the ones that models write, and whose lexers took well below a
# second for each of a hundred hostile texts of IN_PROCESS_MAX_CHARS; MATLAB's took four.
_LANGUAGE_NAMES = """
bash c c# c++ clojure cmake console cpp cs csharp css dart diff django docker dockerfile elixir elm erlang f#
fsharp go golang graphql haskell hcl html http ini java javascript jinja js json json5 jsonc jsx julia kotlin
latex less lua make makefile markdown md nginx nix objc objective-c ocaml patch perl php postgres
postgresql powershell prolog proto protobuf ps1 py pycon python python3 r rb rs ruby rust sass scala scheme
scss sh shell shell-session sql sqlite svg swift terraform tex toml ts tsx typescript vim vue xml yaml yml zig
zsh
"""
LANGUAGES = frozenset(_LANGUAGE_NAMES.split())
# Common names that Pygments does not know.
_ALIASES = {"jsonc": "json", "patch": "diff", "sqlite": "sqlite3", "svg": "xml"}


class Painter:
    """Highlights the code of one text.

    With `slow_deadline`, code that exceeds it has no colours. Without it, code that may be slow raises
    DeadlineExceeded, and the child process has to try.
    """

    def __init__(self, deadline: Deadline, slow_deadline: Deadline | None, *, is_coloured: bool) -> None:
        self._deadline = deadline
        self._slow_deadline = slow_deadline
        self._is_coloured = is_coloured
        self._spans = 0

    def paint(self, code: str, language: str) -> str:
        """Return `code` as HTML. Raises DeadlineExceeded."""
        if not self._is_coloured or self._spans > MAX_SPANS:
            return highlight(code, "", self._deadline)
        painted = self._painted(code, language)
        self._spans += painted.count("<span")
        return painted

    def _painted(self, code: str, language: str) -> str:
        if self._slow_deadline is None:
            if may_be_slow(code, language):
                raise DeadlineExceeded
            return highlight(code, language, self._deadline)
        try:
            return highlight(code, language, self._slow_deadline)
        except DeadlineExceeded:
            return highlight(code, "", self._deadline)


def highlight(code: str, language: str, deadline: Deadline) -> str:
    """Return `code` as HTML, with colours where its language has any. Raises DeadlineExceeded.

    Long code is divided into parts.
    """
    pieces = list(parts(code))
    if _is_supported(code, language):
        painted = _in_pieces(pieces, _tokens(_lexer(language), code, deadline))
    else:
        painted = [escape(piece) for piece in pieces]
    return in_parts(painted)


def may_be_slow(code: str, language: str) -> bool:
    """Return whether highlighting `code` may hold the interpreter lock for long."""
    return _is_supported(code, language) and (
        len(code) > IN_PROCESS_MAX_CHARS or max(map(len, code.split("\n"))) > IN_PROCESS_MAX_LINE_CHARS
    )


def escape(code: str) -> str:
    return html.escape(code, quote=False)


def _is_supported(code: str, language: str) -> bool:
    return language in LANGUAGES and len(code) <= MAX_CHARS


@lru_cache(maxsize=256)
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(_ALIASES.get(language, language), stripnl=False, ensurenl=False)


def _tokens(lexer: Lexer, code: str, deadline: Deadline) -> Iterable[tuple[str, str]]:
    """Yield pairs of class and text."""
    for name, tokens in groupby(lexer.get_tokens(code), key=lambda token: _class_of(token[0])):
        deadline.check()
        yield name, "".join(text for _type, text in tokens)


def _in_pieces(pieces: list[str], tokens: Iterable[tuple[str, str]]) -> list[str]:
    """Return the HTML of each piece of the code that `tokens` make up."""
    painted = [""] * len(pieces)
    number, room = 0, len(pieces[0])
    for name, text in tokens:
        while text:
            if not room and number + 1 < len(pieces):
                number += 1
                room = len(pieces[number])
            head, text = text[: room or None], text[room or len(text) :]
            room -= len(head)
            painted[number] += _span(name, head)
    return painted


def _span(name: str, text: str) -> str:
    return f'<span class="{name}">{escape(text)}</span>' if name and not text.isspace() else escape(text)


@lru_cache(maxsize=512)
def _class_of(token_type: object) -> str:
    """Return the class of a Pygments token type: its own, or the nearest ancestor's."""
    while token_type is not None:
        if token_type in CLASSES:
            return CLASSES[token_type]
        token_type = getattr(token_type, "parent", None)
    return ""
