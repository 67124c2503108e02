"""The fake model's text: generated from a seed, and full of things that break renderers.

`write(seed, size)` always begins with `write(seed, smaller_size)`, so an answer can be continued.
"""

import random
import re
import zlib

_BLOCKS = (
    "## Part {n}: {a} and {b}\n\n",
    "The {a} keeps its {b}, and **nothing is lost** on the way to the {c}. ",
    "In short, *{a}* before `{b}`, never the other way round. ",
    "- a {a}\n- a {b} with `{c}`\n- ~~an old {a}~~\n\n",
    "1. Look at the {a}.\n2. Wait for the {b}.\n3. Go on with the {c}.\n\n",
    '```python\ndef {a}({b}: str) -> int:\n    return len({b}) < {n}  # {c} & "quotes" \\ backslash\n```\n\n',
    "| {a} | {b} |\n| --- | ---: |\n| {c} | {n} |\n\n",
    "> A {a} said to the {b}: “{c}?” — no answer…\n\n",
    "Grüße aus Øresund, naïve café, Zürich, ½ × ∞ ≠ π. ",
    "日本語の文章です。漢字とかなが混ざる。中文也在这里，没有空格。한국어도 있습니다. ",
    "שלום עולם, this is مرحبا بالعالم in the same line. ",
    "Emoji: 😀 🎉 👩‍👩‍👧 🏳️‍🌈 👍🏽 and e\u0301 (combining). ",
    "<b>not bold</b> &amp; <script>alert({n})</script> [a link](https://example.org/{a}?x=1&y={n}). ",
    "That makes {n} {a}s for each {b}.\n\n",
)
_HALF = re.compile("[\ud800-\udfff]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_NOUNS = (
    "river",
    "lantern",
    "harbour",
    "orchard",
    "signal",
    "ladder",
    "compass",
    "kettle",
    "meadow",
    "anchor",
)


def seed_of(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def write(seed: int, size: int) -> str:
    """Return `size` characters of text."""
    rng = random.Random(seed)  # noqa: S311 - not used for security
    parts: list[str] = []
    length = 0
    while length < size:
        a, b, c = rng.sample(_NOUNS, 3)
        part = rng.choice(_BLOCKS).format(a=a, b=b, c=c, n=rng.randrange(1000))
        parts.append(part)
        length += len(part)
    return "".join(parts)[:size]


def join_surrogates(text: str) -> str:
    """Replace surrogate pairs by their characters; lone surrogates stay."""
    if not _HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def split_surrogates(text: str) -> str:
    """Replace each character beyond the first plane by its surrogate pair."""
    return _ASTRAL.sub(_pair, text)


def _pair(found: re.Match[str]) -> str:
    point = ord(found[0]) - 0x10000
    return chr(0xD800 + (point >> 10)) + chr(0xDC00 + (point & 0x3FF))
