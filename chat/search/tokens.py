"""What the search index stores of a text: its words, without the differences that a search ignores.

Text is folded: compatibility forms are decomposed (NFKD), case is folded, accents and the vowel points of
Arabic and Hebrew are dropped. A word of a script that is written with spaces is one token. Scripts without
spaces (Chinese, Japanese, Korean, Thai and their like) have a token for each letter with its marks, so that
any part of a sentence is found. Each symbol (+ # % € 🙂) is a token; punctuation separates words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Other combining marks are part of a letter: the vowels of Thai and Hindi, the voicing marks of Japanese.
ACCENTS = "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670"
# A longer word, such as an image in base64, is indexed and found by its beginning.
TOKEN_MAX_CHARS = 64
# Of one text: what is indexed in some 10 ms. Later parts of an enormous message are not found.
INDEXED_MAX_CHARS = 200_000

_ACCENT = re.compile(f"[{ACCENTS}]")
_ASCII_TOKEN = re.compile(r"[a-z0-9]+|[+<>=$^`|~#%&@]")
# Punctuation by its category, but a word in names such as C# and addresses.
_SYMBOLS = frozenset("#%&@")
# First and last letter of the scripts that are written without spaces, or whose words are found by parts.
_WITHOUT_SPACES = (
    *((0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF)),
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x303C), (0x3040, 0x30FF), (0x3100, 0x318F)),
    *((0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xA960, 0xA97F)),
    *((0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x16FE0, 0x18D8F), (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFF)),
)


def fold(text: str) -> str:
    """Return `text` without the differences that a search ignores."""
    if text.isascii():
        return text.lower()
    return _ACCENT.sub("", unicodedata.normalize("NFKD", text).casefold())


def tokens_of(text: str) -> list[str]:
    """Return the tokens of a text, in order."""
    if text.isascii():
        return [token[:TOKEN_MAX_CHARS] for token in _ASCII_TOKEN.findall(text.lower())]
    return [token[:TOKEN_MAX_CHARS] for token in spaced(text).split()]


def spaced(text: str) -> str:
    """Return the folded text with space around each token; what separates words is space."""
    # Composed, so that a syllable of Korean or a voiced letter of Japanese is one letter.
    return unicodedata.normalize("NFC", fold(text)).translate(_SPACING)


class _Spacing(dict[int, str]):
    """Maps a character to itself, with space around it if it is a token of its own."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _spaced_character(chr(code), code)
        return found


_SPACING = _Spacing()


def _spaced_character(character: str, code: int) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # invisible, such as marks of direction
        return ""
    if category[0] == "M":
        return character
    if category[0] in "LN":
        is_own_token = any(first <= code <= last for first, last in _WITHOUT_SPACES)
        return f" {character}" if is_own_token else character
    is_symbol = category[0] == "S" or character in _SYMBOLS
    return f" {character} " if is_symbol else " "


@lru_cache(maxsize=8192)
def spaced_character(character: str) -> str:
    """`spaced` for one character."""
    return spaced(character)
