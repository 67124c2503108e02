"""Links: which URLs may be followed, bare URLs in the text, and images as links."""

import re
from collections.abc import Iterable, Sequence

from linkify_it import LinkifyIt
from linkify_it.main import Match
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from chat.rendering.sanitize import URL_SCHEMES

# Text without spaces, as Chinese and Japanese, separates a URL from what follows by these marks only.
_ENDS_BEFORE_MARK = re.compile(r"[^\s，。、；：！？（）「」『』【】〈〉《》〔〕｛｝｡､｢｣“”…]*")
# Emphasis around a URL, not a part of it.
_EMPHASIS = "*_~"


class BareUrls(LinkifyIt):
    """Find URLs that stand in the text without Markdown around them; http and https only."""

    def __init__(self) -> None:
        # `//host` would have no scheme, and of `mailto:x@y` the library shows only `x@y`.
        super().__init__({"//": None, "ftp:": None, "mailto:": None})

    def match_at_start(self, text: str) -> Match | None:
        """Return the URL with its scheme at the start of `text`."""
        end = _ENDS_BEFORE_MARK.match(text)
        assert end
        match = super().match_at_start(end[0])
        if match:
            match.url = match.text = match.url.rstrip(_EMPHASIS)
        return match


def may_be_followed(url: str) -> bool:
    """Return whether `url` has an allowed scheme. A relative URL would lead into this site."""
    scheme, colon, rest = url.partition(":")
    return bool(colon and rest) and scheme.lower() in URL_SCHEMES


def images_to_links(state: StateCore) -> None:
    """Replace images by links: loading a remote image would reveal the reader to its host."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = list(_without_images(token.children))


def _without_images(tokens: Sequence[Token]) -> Iterable[Token]:
    is_in_link = False
    for token in tokens:
        if token.type in {"link_open", "link_close"}:
            is_in_link = token.type == "link_open"
        if token.type == "image":
            url = str(token.attrs["src"])
            label = Token("text", "", 0, content=token.content.strip() or url)
            yield from [label] if is_in_link else _link(url, label)
        else:
            yield token


def _link(url: str, label: Token) -> list[Token]:
    return [Token("link_open", "a", 1, attrs={"href": url}), label, Token("link_close", "a", -1)]
