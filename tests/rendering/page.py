"""What a browser would make of rendered HTML, and the check that it is harmless."""

import re
from html.parser import HTMLParser

from chat.rendering import mathml
from chat.rendering.sanitize import ALLOWED_CLASSES, ALLOWED_TAGS

URL_ATTRIBUTES = {"href", "src", "action", "formaction", "data", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """Collect the tags and the text of some HTML. The text has drawn formulas as they were written."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._is_in_formula = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.text += dict(attrs).get("data-tex") or ""
        self._is_in_formula |= tag == "math"

    def handle_endtag(self, tag: str) -> None:
        self._is_in_formula &= tag != "math"

    def handle_data(self, data: str) -> None:
        self.text += "" if self._is_in_formula else data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def assert_harmless(html):
    for tag, attributes in Page(html).tags:
        assert tag in ALLOWED_TAGS
        assert set(attributes) <= {
            *("type", "disabled", "checked", "aria-label", "value", "data-title"),
            "href",
            "rel",
            "target",
            "class",
            "dir",
            "data-language",
            "start",
            "tabindex",
            "title",
            "data-tex",
            *mathml.ATTRIBUTES,
        }
        for name in URL_ATTRIBUTES & set(attributes):
            assert re.match(r"(https?|mailto):", attributes[name] or "")
        for name in (attributes.get("class") or "").split():
            assert name in ALLOWED_CLASSES[tag]
        assert re.fullmatch(r"[\w+#.-]*", attributes.get("data-language") or "")
