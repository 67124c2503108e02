"""Links: which URLs may be followed, bare URLs in the text, and definitions such as `[1]: https://…`."""

import re
from collections.abc import Iterable, Mapping

from markdown_it.rules_inline import StateInline

from chat.rendering.sanitize import URL_SCHEMES

_BEFORE_URL = re.compile(r"(?:^|[^A-Za-z0-9+.-])(https?)\Z", re.IGNORECASE)
# Text without spaces, as Chinese and Japanese, separates a URL from what follows by these marks only.
_MARKS = r"\s<>\"`\\，。、；：！？（）「」『』【】〈〉《》〔〕｛｝｡､｢｣“”‘’…"
_URL_REST = re.compile(
    rf"://(?:\[[0-9A-Fa-f:.]+\])?[^{_MARKS}/?#()\[\]{{}}|^&*'!,;=~+]*(?:[/?#][^{_MARKS}]*)?"
)
# A host in ASCII ends where another script begins: "https://example.org的网站".
_ASCII_HOST = re.compile(r"://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?=[^\x00-\x7f])")
_HAS_HOST = re.compile(r"://[^\s/?#:.]")
# Punctuation of the sentence and emphasis around a URL.
_TRAILING = "?!.,:;*_~'"
_BRACKETS = {")": "(", "]": "["}

_DEFINITION = re.compile(
    r"[ \t]*\[([^\[\]\n]{1,200})\]:[ \t]*<?((?:https?://|mailto:)[^\s<>]+)", re.IGNORECASE
)
_REFERENCE = re.compile(r"\[([^\[\]\n]{1,200})\]")


def may_be_followed(url: str) -> bool:
    """Return whether `url` has an allowed scheme. A relative URL would lead into this site."""
    scheme, colon, rest = url.partition(":")
    return bool(colon and rest) and scheme.lower() in URL_SCHEMES


def bare_url(state: StateInline, silent: bool) -> bool:
    """Parse an http or https URL that stands in the text without Markdown around it."""
    if silent or state.linkLevel or not state.src.startswith("://", state.pos):
        return False
    scheme = _BEFORE_URL.search(state.src[max(0, state.pos - 6) : state.pos])
    if not scheme or not state.pending.endswith(scheme[1]):
        return False
    rest = _rest_of_url(state)
    if not _HAS_HOST.match(rest):
        return False
    url = scheme[1] + rest
    state.pending = state.pending[: -len(scheme[1])]
    state.push("link_open", "a", 1).attrSet("href", state.md.normalizeLink(url))
    state.push("text", "", 0).content = url
    state.push("link_close", "a", -1)
    state.pos += len(rest)
    return True


def _rest_of_url(state: StateInline) -> str:
    found = _ASCII_HOST.match(state.src, state.pos, state.posMax)
    found = found or _URL_REST.match(state.src, state.pos, state.posMax)
    assert found
    return _without_trailing(found[0])


def _without_trailing(url: str) -> str:
    """Return `url` without the punctuation at its end, and without closing brackets that it does not open."""
    surplus = {closing: url.count(closing) - url.count(opening) for closing, opening in _BRACKETS.items()}
    end = len(url)
    while end and (url[end - 1] in _TRAILING or surplus.get(url[end - 1], 0) > 0):
        if url[end - 1] in surplus:
            surplus[url[end - 1]] -= 1
        end -= 1
    return url[:end]


def definitions_in(paragraph: str) -> Iterable[tuple[str, str]]:
    """Yield label and URL of each line that defines a link, such as `[1]: https://example.org "Title"`."""
    for line in paragraph.split("\n"):
        match = _DEFINITION.match(line)
        if match:
            yield _normalized(match[1]), match[2]


def references_in(text: str, definitions: Mapping[str, str]) -> Iterable[tuple[str, str | None]]:
    """Yield pieces of `text`: the `[label]` of a definition with its URL, other text with None."""
    position = 0
    for match in _REFERENCE.finditer(text):
        url = definitions.get(_normalized(match[1]))
        if url:
            yield text[position : match.start()], None
            yield match[0], url
            position = match.end()
    yield text[position:], None


def _normalized(label: str) -> str:
    return " ".join(label.lower().split())
