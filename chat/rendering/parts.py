"""Division of long plain text and long code into parts that a browser lays out one by one."""

from collections.abc import Iterable

from chat.rendering.limits import PART_CHARS


def parts(text: str) -> Iterable[str]:
    """Yield `text` in parts of at most PART_CHARS, which end at a line break if there is one."""
    position = 0
    while len(text) - position > PART_CHARS:
        end = text.rfind("\n", position, position + PART_CHARS) + 1 or position + PART_CHARS
        yield text[position:end]
        position = end
    yield text[position:]


def in_parts(pieces: list[str]) -> str:
    """Return pieces of HTML as one, each in a box of its own if there are several."""
    return pieces[0] if len(pieces) == 1 else "".join(f'<span class="part">{each}</span>' for each in pieces)
