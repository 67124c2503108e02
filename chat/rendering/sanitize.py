"""The allowlist: which tags, attributes, classes and URL schemes rendered HTML may contain."""

import nh3

from chat.rendering import mathml
from chat.rendering.highlight import CLASSES

URL_SCHEMES = frozenset({"http", "https", "mailto"})

ALLOWED_CLASSES = {
    "div": {"code", "formula", "table"},
    "li": {"task"},
    "pre": {"plain"},
    "span": {"formula", "part", *CLASSES.values()},
    "th": {"center", "right"},
    "td": {"center", "right"},
}
_BLOCKS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table", "pre"}
ALLOWED_TAGS = {
    *_BLOCKS,
    *mathml.TAGS,
    *("li", "thead", "tbody", "tr", "th", "td", "div", "span"),
    *("hr", "br", "strong", "em", "s", "code", "a", "sub", "sup", "kbd", "input"),
}
_ALLOWED_ATTRIBUTES = {
    "*": set[str](),
    "a": {"href", "title"},
    "ol": {"start"},
    "li": {"value"},
    "div": {"data-language", "data-title", "data-tex"},
    "span": {"data-tex"},
    **{tag: set(mathml.ATTRIBUTES) for tag in mathml.TAGS},
}
_ALLOWED_VALUES: dict[str, dict[str, set[str]]] = {
    **{tag: {"dir": {"auto"}} for tag in _BLOCKS},
    "div": {"dir": {"ltr"}, "tabindex": {"0"}},
    "pre": {"dir": {"auto"}, "tabindex": {"0"}},
    "span": {"dir": {"ltr"}},
    # The box of a task.
    "input": {
        "type": {"checkbox"},
        "disabled": {""},
        "checked": {""},
        "aria-label": {"done", "not done"},
    },
}
_cleaner = nh3.Cleaner(
    tags=ALLOWED_TAGS,
    attributes=_ALLOWED_ATTRIBUTES,
    tag_attribute_values=_ALLOWED_VALUES,
    allowed_classes=ALLOWED_CLASSES,
    url_schemes=set(URL_SCHEMES),
    url_relative="deny",
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


def sanitize(unsafe_html: str) -> str:
    """Return `unsafe_html` with everything removed that is not on the allowlist."""
    return _cleaner.clean(unsafe_html)
