"""Writes the tokens of a block as HTML, which still has to be sanitised."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from markdown_it.token import Token

from chat.rendering.fences import language_of
from chat.rendering.highlight import escape
from chat.rendering.limits import MAX_BRACKETS, MAX_INLINE_CHARS, MAX_INLINE_ELEMENTS, MAX_INLINE_NESTING
from chat.rendering.links import references_in
from chat.rendering.mathml import FormulaWriter
from chat.rendering.parts import in_parts, parts

_TASK = re.compile(r"\[([ xX])\]\s+")
_INFO_MAX_CHARS = 200

# Returns code of a language as safe HTML.
Paint = Callable[[str, str], str]


class BlockWriter:
    """Write one block after the other."""

    def __init__(self, definitions: Mapping[str, str], paint: Paint, formulas: FormulaWriter) -> None:
        self._definitions = definitions
        self._paint = paint
        self._formulas = formulas
        self._out: list[str] = []
        # The number of the last item of each open ordered list, as written and as shown; None in other lists.
        self._numbers: list[tuple[int, int] | None] = []

    def html_of(self, tokens: Sequence[Token]) -> str:
        self._out = []
        for index, token in enumerate(tokens):
            self._write(token, tokens, index)
        return "".join(self._out)

    def _write(self, token: Token, tokens: Sequence[Token], index: int) -> None:
        match token.type:
            case "inline":
                self._inline(token.children or [])
            case "fence" | "code_block":
                self._out.append(self._code(token))
            case "formula_block":
                self._out.append(f"{self._formula(token.content, 'div')}\n")
            case "hr":
                self._out.append("<hr>\n")
            case "table_open":
                self._out.append(f'<div class="table" tabindex="0"><table{_direction(token)}>')
            case "table_close":
                self._out.append("</table></div>\n")
            case "list_item_open":
                self._item(token, tokens[index + 1 : index + 3])
            case _ if token.hidden:
                is_last = token.nesting < 0 and tokens[index + 1].type == "list_item_close"
                self._out.append("\n" if token.nesting < 0 and not is_last else "")
            case _ if token.nesting > 0:
                self._open(token)
            case _:
                self._close(token)

    def _open(self, token: Token) -> None:
        attributes = "".join(f' {name}="{_quoted(value)}"' for name, value in token.attrs.items())
        if token.type == "ordered_list_open":
            first = int(token.attrs.get("start", 1))
            self._numbers.append((first, first - 1))
        elif token.type == "bullet_list_open":
            self._numbers.append(None)
        self._out.append(f"<{token.tag}{attributes}{_direction(token)}>")

    def _close(self, token: Token) -> None:
        if token.tag in {"ol", "ul"}:
            self._numbers.pop()
        self._out.append(f"</{token.tag}>\n")

    def _item(self, token: Token, following: Sequence[Token]) -> None:
        """Write the start of a list item: its number if it is not the next one, and the box of a task."""
        attributes, box = "", ""
        if self._numbers[-1]:
            attributes = self._number(int(token.info), *self._numbers[-1])
        text = following[1].children if len(following) == 2 and following[1].type == "inline" else None
        if text and text[0].type == "text" and (task := _TASK.match(text[0].content)):
            text[0].content = text[0].content[task.end() :]
            is_done = task[1] != " "
            attributes += ' class="task"'
            label = "done" if is_done else "not done"
            box = f'<input type="checkbox" disabled{" checked" * is_done} aria-label="{label}"> '
        self._out.append(f"<li{attributes}>{box}")

    def _number(self, number: int, previous: int, shown: int) -> str:
        """Return the `value` of an item. Models that number each item 1 leave counting to the reader."""
        following = shown + 1
        if number in {following, previous}:
            self._numbers[-1] = (number, following)
            return ""
        self._numbers[-1] = (number, number)
        return f' value="{number}"'

    def _code(self, token: Token) -> str:
        info = token.info.strip()
        language = language_of(info) if token.type == "fence" else ""
        title = "" if info.lower() == language else f' data-title="{_quoted(info[:_INFO_MAX_CHARS])}"'
        # Code runs from left to right, also in text that runs from right to left.
        return (
            f'<div class="code" dir="ltr" data-language="{_quoted(language)}"{title}>'
            f'<pre tabindex="0"><code>{self._paint(token.content, language)}</code></pre></div>\n'
        )

    def _formula(self, source: str, tag: str) -> str:
        """Write a formula as MathML with its source, or the source alone if it cannot be drawn."""
        is_block = tag == "div" or source.startswith(("$$", "\\["))
        drawn = self._formulas.html_of(source, is_block=is_block)
        if drawn is None:
            return f'<{tag} class="formula" dir="ltr">{escape(source)}</{tag}>'
        return f'<{tag} class="formula" dir="ltr" data-tex="{_quoted(source)}">{drawn}</{tag}>'

    def _inline(self, tokens: Iterable[Token]) -> None:
        is_in_link = False
        for token in tokens:
            if token.type in {"link_open", "link_close"}:
                is_in_link = token.type == "link_open"
            self._out.append(self._inline_html(token, is_in_link))

    def _inline_html(self, token: Token, is_in_link: bool) -> str:
        match token.type:
            case "text":
                return escape(token.content) if is_in_link else self._text(token.content)
            case "softbreak" | "hardbreak":
                # Models write addresses and verse: a line break stays one.
                return "<br>\n"
            case "code_inline":
                return f"<code>{escape(token.content)}</code>"
            case "formula_inline":
                return self._formula(token.content, "span")
            case "image":
                return _image(token, is_in_link)
            case "link_open":
                return _link(str(token.attrs["href"]), str(token.attrs.get("title", "")))
            case _:
                return f"<{token.tag}>" if token.nesting > 0 else f"</{token.tag}>"

    def _text(self, text: str) -> str:
        if not self._definitions:
            return escape(text)
        pieces = references_in(text, self._definitions)
        return "".join(f"{_link(url)}{escape(piece)}</a>" if url else escape(piece) for piece, url in pieces)


def plain(text: str) -> str:
    """Return `text` escaped, as one preformatted block."""
    pieces = [escape(part) for part in parts(text.strip("\n"))]
    return f'<pre class="plain" dir="auto">{in_parts(pieces)}</pre>'


def can_be_parsed(tokens: Iterable[Token]) -> bool:
    """Return whether the inline text of these tokens is within the limits, before it is parsed."""
    return all(
        token.type != "too_complex"
        and (
            token.type != "inline"
            or (len(token.content) <= MAX_INLINE_CHARS and token.content.count("[") <= MAX_BRACKETS)
        )
        for token in tokens
    )


def elements_of(tokens: Iterable[Token]) -> int:
    """Return about how many elements the parsed tokens make; endless if a paragraph exceeds its limits."""
    number, depth = 0, 0
    for token in tokens:
        number += token.nesting >= 0 and token.type not in {"inline", "text"}
        depth += token.nesting
        if not token.block and depth > MAX_INLINE_NESTING:
            return 1 << 30
        inner = elements_of(token.children or [])
        if inner > MAX_INLINE_ELEMENTS:
            return 1 << 30
        number += inner
    return number


def _direction(token: Token) -> str:
    """Return the text direction of an outermost block; inner blocks inherit it."""
    return ' dir="auto"' if token.level == 0 else ""


def _image(token: Token, is_in_link: bool) -> str:
    """Return a link to an image: loading it would reveal the reader to its host."""
    url = str(token.attrs["src"])
    label = escape(token.content.strip() or url)
    return label if is_in_link else f"{_link(url, str(token.attrs.get('title', '')))}{label}</a>"


def _link(url: str, title: str = "") -> str:
    shown = f' title="{_quoted(title)}"' if title else ""
    return f'<a href="{_quoted(url)}"{shown}>'


def _quoted(value: object) -> str:
    return html.escape(str(value))
