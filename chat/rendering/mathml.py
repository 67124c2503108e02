"""Formulas as MathML, which browsers draw without scripts or fonts of ours."""

import html
import re
from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element

from chat.rendering.deadline import Deadline

# A longer formula is shown as it was written.
MAX_CHARS = 2_000
# The converter calls itself for each brace.
MAX_NESTING = 25
# Elements of one formula, and of all formulas of a text. What exceeds it is shown as it was written.
MAX_ELEMENTS = 800
MAX_ELEMENTS_OF_ALL = 4_000

# The number of parts that these must have.
_PARTS_OF = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
TAGS = {
    *_PARTS_OF,
    *("math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "msqrt", "mstyle", "mphantom", "menclose"),
    *("mmultiscripts", "mprescripts", "mtable", "mtr", "mtd"),
}
# Without colours, links and sizes that could cover the rest of the page.
ATTRIBUTES = {
    *("display", "mathvariant", "displaystyle", "scriptlevel", "stretchy", "fence", "form", "accent"),
    *("accentunder", "columnalign", "columnlines", "rowlines", "columnspacing", "rowspacing"),
    *("linethickness", "minsize", "maxsize", "notation", "width"),
}
_SAFE_VALUE = re.compile(r"[a-z -]{1,40}|(?:-?\d{0,2}(?:\.\d{1,4})?(?:em|ex|pt|mu|px)?[ ]?){1,4}")
_DELIMITERS = re.compile(
    r"\s*(?:\\\((?P<a>.*)\\\)|\\\[(?P<b>.*)\\\]|\$\$(?P<c>.*)\$\$|\$(?P<d>.*)\$|(?P<e>\\begin\{.*))[.,;:]?\s*",
    re.DOTALL,
)
# The converter takes these for a single line, and others for text. Models use them daily.
_ENVIRONMENTS = {
    "aligned": "split",
    "alignedat": "split",
    "gathered": "matrix",
    "gather": "matrix",
    "gather*": "matrix",
    "dcases": "cases",
    "smallmatrix": "matrix",
}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([a-z]+\*?)\}")
_UNSHOWN = re.compile(r"\\(?:label|tag\*?|ref|eqref)\{[^{}]*\}|\\(?:nonumber|notag)\b")
# Their limits are below them in a displayed formula.
_WITH_LIMITS = frozenset(("lim", "max", "min", "sup", "inf", "lim sup", "lim inf", "arg max", "arg min"))
_LIMITS_OF = {"msub": "munder", "msubsup": "munderover"}


class FormulaWriter:
    """Write the formulas of one text, within limits for all of them."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._elements_left = MAX_ELEMENTS_OF_ALL

    def html_of(self, source: str, *, is_block: bool) -> str | None:
        """Return a formula with its delimiters as MathML; None if it is to be shown as it was written."""
        tex = _tex_of(source)
        if tex is None or self._elements_left <= 0:
            return None
        self._deadline.check()
        root = _converted(tex, is_block)
        if root is None:
            return None
        elements = sum(1 for _each in root.iter())
        if elements > min(MAX_ELEMENTS, self._elements_left):
            return None
        self._elements_left -= elements
        return "".join(_written(root, is_block))


def _tex_of(source: str) -> str | None:
    """Return a formula without its delimiters; None if it has none, or is too long or too deep."""
    match = _DELIMITERS.fullmatch(source) if len(source) <= MAX_CHARS else None
    if match is None or match.lastgroup is None:
        return None
    tex = _UNSHOWN.sub("", match[match.lastgroup]).strip()
    tex = _ENVIRONMENT.sub(lambda found: f"\\{found[1]}{{{_ENVIRONMENTS.get(found[2], found[2])}}}", tex)
    return tex if tex and _nesting_of(tex) <= MAX_NESTING else None


def _nesting_of(tex: str) -> int:
    depth = deepest = 0
    for opens in re.findall(r"\{|\}|\\left\b|\\right\b|\\begin\b|\\end\b", tex):
        depth += 1 if opens in {"{", "\\left", "\\begin"} else -1
        deepest = max(deepest, depth)
    return deepest


def _converted(tex: str, is_block: bool) -> Element | None:
    # Only texts with a formula need it, and its tables take 5 MB.
    convert: Callable[..., Element]
    from latex2mathml.converter import convert_to_element as convert

    try:
        root = convert(tex, display="block" if is_block else "inline")
    except Exception:  # noqa: BLE001  # it raises many kinds for malformed TeX, RecursionError among them
        return None
    return root if all(map(_is_whole, root.iter())) else None


def _is_whole(element: Element) -> bool:
    """Return whether an element can be drawn; the converter lets some mistakes pass."""
    if element.tag not in TAGS and element.tag != "mpadded":
        return False
    # An alignment outside of a table: the source says more than it would in one line.
    if element.text in {"&", "\\\\"}:
        return False
    return len(element) == _PARTS_OF.get(element.tag, len(element))


def _written(element: Element, is_block: bool) -> Iterator[str]:
    tag = "mrow" if element.tag == "mpadded" else element.tag
    if is_block and tag in _LIMITS_OF and len(element) and _text_of(element[0]) in _WITH_LIMITS:
        tag = _LIMITS_OF[tag]
    attributes = "".join(
        f' {name}="{html.escape(value)}"'
        for name, value in element.attrib.items()
        if name in ATTRIBUTES and _SAFE_VALUE.fullmatch(value)
    )
    yield f"<{tag}{attributes}>"
    yield html.escape(_text_of(element), quote=False)
    for child in element:
        yield from _written(child, is_block)
    yield f"</{tag}>"


def _text_of(element: Element) -> str:
    """Return the text of an element, in which the converter leaves character references."""
    return " ".join(html.unescape(element.text or "").split("\u2006")) if element.text else ""
