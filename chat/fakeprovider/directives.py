"""Reads the language of `behaviours`: directives in messages, model names, scripts.

Weakest first: the model's name, directives in the last user message, the control script. What a
stronger place says replaces the same option of a weaker one; faults of all places add up, in the
order of their `after`. `healthy` forgets everything weaker.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from chat.fakeprovider.behaviours import (
    DETAILS,
    FAULTS,
    GREEDY,
    LARGEST,
    OPTIONS,
    PRESETS,
    WHEN,
    WORDS,
    Behaviour,
    Fault,
    When,
    reader,
)
from chat.fakeprovider.sample_text import whole

_DIRECTIVE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_ITEM = re.compile(r"\s*([^\s=]+)(=?)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[nrt\\])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Unknown(ValueError):
    """A word or value that is not in the table; the message names the known ones."""


@dataclass(frozen=True)
class Directive:
    """One `[[…]]`: options, at most one fault, and when they count."""

    options: dict[str, object] = field(default_factory=dict)
    fault: Fault | None = None
    when: When = field(default_factory=When)
    forgets: bool = False

    def counts(self, attempt: int, dice: random.Random) -> bool:
        when = self.when
        is_lucky = when.chance >= 1 or dice.random() < when.chance
        return is_lucky and (not when.times or attempt <= when.times) and (not when.on or attempt == when.on)


def in_message(text: str) -> list[Directive]:
    """Return the directives written in a message. Raises Unknown."""
    return [parse(found) for found in _DIRECTIVE.findall(text)]


def without(text: str) -> str:
    """Return the message without its directives."""
    return _DIRECTIVE.sub("", text).strip()


def in_model(model: str) -> list[Directive]:
    """Return what a model's name asks for: `fake-cut-after-5+slow:label`. Raises Unknown.

    Words are joined by `-`, directives by `+`; what follows `:` is a label that keeps models apart.
    A name that does not begin with `fake` asks for nothing.
    """
    name = model.partition(":")[0]
    if name != "fake" and not name.startswith("fake-"):
        return []
    return [_build(_model_items(part.split("-"))) for part in name.removeprefix("fake").split("+")]


def parse(text: str) -> Directive:
    """Return the directive that `text` (without brackets) spells. Raises Unknown."""
    return _build(_items(text))


def _items(text: str) -> Iterable[tuple[str, str]]:
    at = 0
    while match := _ITEM.match(text, at):
        name, at = match[1], match.end()
        end = len(text) if name in GREEDY else _end_of_word(text, at)
        yield name, text[at:end] if match[2] else ""
        at = end if match[2] else at


def _end_of_word(text: str, at: int) -> int:
    match = re.compile(r"\s|$").search(text, at)
    return match.start() if match else len(text)


def _model_items(words: list[str]) -> Iterable[tuple[str, str]]:
    words = [word for word in words if word]
    while words:
        name, words = _longest_word(words)
        takes_value = name in WORDS and WORDS[name].value
        yield name, words.pop(0) if takes_value and words else ""


def _longest_word(words: list[str]) -> tuple[str, list[str]]:
    """`retry-after-2` is the word retry_after, though `retry` alone would come first."""
    for size in (3, 2):
        name = "_".join(words[:size])
        if name in WORDS:
            return name, words[size:]
    return words[0], words[1:]


def _build(items: Iterable[tuple[str, str]]) -> Directive:
    values: dict[str, object] = {}
    for name, raw in _spread(items):
        values[name] = _value(name, raw)
    kinds = [name for name in values if name in FAULTS]
    if len(kinds) > 1:
        raise Unknown(f"{kinds[0]} and {kinds[1]} are two faults: write two directives")
    return Directive(
        options={name: value for name, value in values.items() if name in OPTIONS},
        fault=_fault(kinds, values),
        when=When(**{name: value for name, value in values.items() if name in WHEN}),  # type: ignore[arg-type]
        forgets="healthy" in values,
    )


def _spread(items: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for name, raw in items:
        if name in PRESETS:
            yield from _items(PRESETS[name][0])
        if name not in PRESETS or name == "healthy":
            yield name, raw


def _value(name: str, raw: str) -> object:
    if name not in WORDS:
        raise Unknown(f"unknown word {name!r}; known are: {', '.join(sorted(WORDS))}")
    if not WORDS[name].value:
        if raw:
            raise Unknown(f"{name} takes no value")
        return True
    try:
        return _text(raw) if name in GREEDY else reader(name)(raw)
    except ValueError:
        raise Unknown(f"{name}={raw!r} should be {WORDS[name].usage}") from None


def _text(raw: str) -> str:
    r"""Undo `\n`, `\uXXXX` and the like; lone surrogates stay, pairs become one character."""
    return whole(_ESCAPE.sub(lambda found: _ESCAPES.get(found[1]) or chr(int(found[1][1:], 16)), raw))


def _fault(kinds: list[str], values: dict[str, object]) -> Fault | None:
    details = {name: value for name, value in values.items() if name in DETAILS}
    if not kinds:
        if details:
            raise Unknown(f"{next(iter(details))} belongs to a fault: name one of {', '.join(FAULTS)}")
        return None
    kind = kinds[0]
    if kind in ("status", "hold"):
        details["gate" if kind == "hold" else kind] = values[kind] or kind
    return Fault(kind, **details)  # type: ignore[arg-type]


def combine(directives: Iterable[Directive], attempt: int, dice: random.Random) -> Behaviour:
    """Return what directives, weakest first, come to on this attempt."""
    options: dict[str, object] = {}
    faults: list[Fault] = []
    longest = 0
    for directive in directives:
        does_count = directive.counts(attempt, dice)
        if directive.forgets and does_count:
            options, faults, longest = {}, [], 0
        # Attempts that a fault spares must be as long as those it strikes, or no text could be continued.
        longest = max(longest, _needed(directive.fault))
        if does_count:
            options |= directive.options
            faults += [directive.fault] if directive.fault else []
    options.setdefault("deltas", max(60, longest))
    behaviour = replace(Behaviour(), **options)  # type: ignore[arg-type]
    if (behaviour.deltas or 0) * behaviour.chars > LARGEST:
        raise Unknown(f"deltas × chars is more than {LARGEST}")
    faults.sort(key=lambda fault: fault.after)
    return replace(behaviour, faults=tuple(faults))


def _needed(fault: Fault | None) -> int:
    return fault.after + 10 if fault and fault.after < 1_000_000 else 0
