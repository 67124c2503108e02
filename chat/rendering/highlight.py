"""Syntax highlighting of code blocks, with classes that static/chat/highlight.css gives colours.

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

from chat.rendering.deadline import Deadline

IN_PROCESS_MAX_CHARS = 10_000
IN_PROCESS_MAX_LINE_CHARS = 500
MAX_CHARS = 50_000

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


def highlight(code: str, language: str, deadline: Deadline) -> str:
    """Return `code` as HTML, with colours where its language has any. Raises DeadlineExceeded."""
    if not _is_supported(code, language):
        return escape(code)
    return "".join(_spans(_lexer(language), code, deadline))


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


def _spans(lexer: Lexer, code: str, deadline: Deadline) -> Iterable[str]:
    for name, tokens in groupby(lexer.get_tokens(code), key=lambda token: _class_of(token[0])):
        deadline.check()
        text = escape("".join(text for _type, text in tokens))
        yield f'<span class="{name}">{text}</span>' if name and not text.isspace() else text


@lru_cache(maxsize=512)
def _class_of(token_type: object) -> str:
    """Return the class of a Pygments token type: its own, or the nearest ancestor's."""
    while token_type is not None:
        if token_type in CLASSES:
            return CLASSES[token_type]
        token_type = getattr(token_type, "parent", None)
    return ""
