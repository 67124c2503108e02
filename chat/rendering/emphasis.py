"""Emphasis: where `*`, `_` and `~~` may open and close it.

CommonMark decides by the characters on both sides. By its rule, `**` between punctuation and a letter ends no
emphasis; but Chinese, Japanese, Korean, Thai and others set no spaces between words. Beside them, punctuation
does not count. The idea is that of the plug-ins named "CJK-friendly" (https://github.com/tats-u/markdown-cjk-friendly).
"""

import re
import unicodedata
from string import digits as _DIGITS

from markdown_it import MarkdownIt
from markdown_it.parser_inline import ParserInline
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType

# Scripts without spaces between words, their punctuation, and full-width forms.
_SPACELESS = re.compile(
    "[\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\ufe30-\ufe4f\uff00-\uffef\U0001b000-\U0001b16f\U0001f200-\U0001f2ff\U00020000-\U0003ffff]"
)
_DUNDER = re.compile(r"__[a-z][a-z0-9]*(?:_[a-z0-9]+)*__(?![A-Za-z0-9_])")


class InlineParser(ParserInline):
    """The library's parser of paragraphs, with our rule for emphasis."""

    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _State(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


def dunder(state: StateInline, silent: bool) -> bool:
    """Parse a Python name such as `__init__`, which is no emphasis."""
    if state.src[state.pos] != "_" or (state.pos and _is_word(state.src[state.pos - 1])):
        return False
    match = _DUNDER.match(state.src, state.pos, state.posMax)
    if not match:
        return False
    if not silent:
        state.push("text", "", 0).content = match[0]
    state.pos = match.end()
    return True


class _State(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        marker = self.src[start]
        end = start
        while end < self.posMax and self.src[end] == marker:
            end += 1
        before = self.src[start - 1] if start else " "
        after = self.src[end] if end < self.posMax else " "
        if marker == "*" and _is_product(before, after):
            return Scanned(False, False, end - start)
        opens = _faces_text(after, before)
        closes = _faces_text(before, after)
        return Scanned(
            opens and (canSplitWord or not closes or _is_punctuation(before)),
            closes and (canSplitWord or not opens or _is_punctuation(after)),
            end - start,
        )


def _faces_text(inner: str, outer: str) -> bool:
    """Return whether a marker between `inner` and `outer` belongs to the text on its inner side."""
    if inner.isspace():
        return False
    if not _is_punctuation(inner) or _SPACELESS.match(inner):
        return True
    return outer.isspace() or _is_punctuation(outer) or _SPACELESS.match(outer) is not None


def _is_product(before: str, after: str) -> bool:
    """Return whether the asterisk in `2*3` or `x*2` multiplies."""
    return (before in _DIGITS and _is_word(after)) or (_is_word(before) and after in _DIGITS)


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
