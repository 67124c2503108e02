"""Cleaning of incoming text, and the text of a message in OpenAI's format.

Text can hold all of Unicode, except for what no database or wire format can carry.
"""

import re
from typing import Any

# A spreadsheet runs a cell of a CSV file that starts with one of these as a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` without NUL characters and with lone surrogates replaced by U+FFFD."""
    return _LONE_SURROGATE.sub("�", text.replace("\x00", ""))


def clean_json(value: Any) -> Any:
    """Return a JSON value with every text in it cleaned, its keys too."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_json(each) for each in value]
        case dict():
            return {clean(key): clean_json(each) for key, each in value.items()}
    return value


def inert_cell(value: Any) -> Any:
    """Return a value of a CSV file that no spreadsheet takes for a formula, by an apostrophe in front."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA_STARTS) else value


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message in OpenAI's format, without images and other parts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message."""
    of_user = (message for message in reversed(messages) if message.get("role") == "user")
    return text_of(next(of_user, {}))


# A link or picture, emphasis, struck text or code. Marks with space at their inner sides, such as those of a
# product, mean nothing, nor do underscores, which are in names.
_MARKED = re.compile(
    r"!?\[(?P<link>[^\]\n]*)\]\([^)\s]*\)"
    r"|(?<![A-Za-z0-9*`~])(?P<mark>\*{1,3}|~~|`{1,3})(?=[^\s*`~])(?P<inner>.+?)(?<=[^\s*`~])(?P=mark)(?![A-Za-z0-9*`~])"
)
_NESTED_MAX = 3
# What begins a heading, a quotation or an entry of a list, and its check box.
_BLOCK_MARK = re.compile(r"^\s*(?:(?:#{1,6}|>|[-*+])\s+)+(?:\[[ xX]\]\s+)?")
_FENCE = re.compile(r"^\s*(?:`{3,}|~{3,})\S*\s*$")
# What rules and the line below the head of a table consist of.
_RULES = frozenset(" \t\r:|-*_=")


def plain_line(text: str) -> str:
    """Return a line of Markdown without the marks of links, emphasis and code."""
    for _level in range(_NESTED_MAX):
        if not any(mark in text for mark in "*`~["):
            break
        text = _MARKED.sub(lambda found: found["link"] or found["inner"] or "", text)
    return text


def plain_words(text: str) -> str:
    """Return a part of Markdown on one line, as the words that a reader sees."""
    lines = (
        _BLOCK_MARK.sub("", line)
        for line in text.split("\n")
        if not (_FENCE.match(line) or _RULES.issuperset(line))
    )
    cells = (line.replace("|", " ") if line.lstrip().startswith("|") else line for line in lines)
    return " ".join(" ".join(map(plain_line, cells)).split())
