"""Parse the directive language of `behaviours`: in messages, model names and schedules.

Precedence, lowest first: the model's name, directives in the last user message, the schedule. An option
of higher precedence replaces the same option of lower precedence; faults from all sources add up, in the
order of their `after`. `healthy` discards everything of lower precedence.
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
    Condition,
    Fault,
    reader,
)
from chat.fakeprovider.sample_text import join_surrogates

_DIRECTIVE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_ITEM = re.compile(r"\s*([^\s=]+)(=?)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[nrt\\])")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class UnknownDirective(ValueError):
    """A word or value that is not in the table; the message names the valid ones."""


@dataclass(frozen=True)
class Directive:
    """One `[[…]]`: options, at most one fault, and when they apply."""

    options: dict[str, object] = field(default_factory=dict)
    fault: Fault | None = None
    when: Condition = field(default_factory=Condition)
    is_reset: bool = False

    def applies(self, attempt: int, rng: random.Random) -> bool:
        when = self.when
        is_drawn = when.chance >= 1 or rng.random() < when.chance
        return is_drawn and (not when.times or attempt <= when.times) and (not when.on or attempt == when.on)


def in_message(text: str) -> list[Directive]:
    """Return the directives in the last paragraph of a message. Raises UnknownDirective.

    Earlier paragraphs can be questions that got no answer: clients send these with the next one.
    """
    masked = _DIRECTIVE.sub(lambda found: "x" * len(found[0]), text.rstrip())
    return [parse(found) for found in _DIRECTIVE.findall(text, max(masked.rfind("\n\n"), 0))]


def without(text: str) -> str:
    """Return the message without its directives."""
    return _DIRECTIVE.sub("", text).strip()


def in_model(model: str) -> list[Directive]:
    """Return the directives in a model's name: `fake-cut-after-5+slow:label`. Raises UnknownDirective.

    Words are joined by `-`, directives by `+`; a label after `:` distinguishes models.
    A name that does not begin with `fake` has no directives.
    """
    name = model.partition(":")[0]
    if name != "fake" and not name.startswith("fake-"):
        return []
    return [_build(_model_items(part.split("-"))) for part in name.removeprefix("fake").split("+")]


def parse(text: str) -> Directive:
    """Return the directive in `text` (without brackets). Raises UnknownDirective."""
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
    """Return the longest known word, then the rest: `retry-after-2` is `retry_after`, not `retry`."""
    for size in (3, 2):
        name = "_".join(words[:size])
        if name in WORDS:
            return name, words[size:]
    return words[0], words[1:]


def _build(items: Iterable[tuple[str, str]]) -> Directive:
    values: dict[str, object] = {}
    for name, raw in _expand_presets(items):
        values[name] = _value(name, raw)
    kinds = [name for name in values if name in FAULTS]
    if len(kinds) > 1:
        raise UnknownDirective(f"{kinds[0]} and {kinds[1]} are two faults: use two directives")
    return Directive(
        options={name: value for name, value in values.items() if name in OPTIONS},
        fault=_fault(kinds, values),
        when=Condition(**{name: value for name, value in values.items() if name in WHEN}),  # type: ignore[arg-type]
        is_reset="healthy" in values,
    )


def _expand_presets(items: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for name, raw in items:
        if name in PRESETS:
            yield from _items(PRESETS[name][0])
        if name not in PRESETS or name == "healthy":
            yield name, raw


def _value(name: str, raw: str) -> object:
    if name not in WORDS:
        raise UnknownDirective(f"unknown word {name!r}; known words: {', '.join(sorted(WORDS))}")
    if not WORDS[name].value:
        if raw:
            raise UnknownDirective(f"{name} takes no value")
        return True
    try:
        return _text(raw) if name in GREEDY else reader(name)(raw)
    except ValueError:
        raise UnknownDirective(f"{name}={raw!r} should be {WORDS[name].usage}") from None


def _text(raw: str) -> str:
    r"""Decode escapes such as `\n` and `\uXXXX`; lone surrogates stay, pairs become one character."""
    return join_surrogates(
        _ESCAPE.sub(lambda found: _ESCAPES.get(found[1]) or chr(int(found[1][1:], 16)), raw)
    )


def _fault(kinds: list[str], values: dict[str, object]) -> Fault | None:
    details = {name: value for name, value in values.items() if name in DETAILS}
    if not kinds:
        if details:
            raise UnknownDirective(
                f"{next(iter(details))} needs a fault in the same directive: one of {', '.join(FAULTS)}"
            )
        return None
    kind = kinds[0]
    if kind in ("status", "hold", "provider_error"):
        details["gate" if kind == "hold" else kind] = values[kind] or kind
    return Fault(kind, **details)  # type: ignore[arg-type]


def combine(directives: Iterable[Directive], attempt: int, rng: random.Random) -> Behaviour:
    """Combine directives, lowest precedence first, into the behaviour of this attempt."""
    options: dict[str, object] = {}
    faults: list[Fault] = []
    longest = 0
    for directive in directives:
        applies = directive.applies(attempt, rng)
        if directive.is_reset and applies:
            options, faults, longest = {}, [], 0
        # Attempts without the fault must be as long as those with it, or no text could be continued.
        longest = max(longest, _needed(directive.fault))
        if applies:
            options |= directive.options
            faults += [directive.fault] if directive.fault else []
    options.setdefault("deltas", max(60, longest))
    behaviour = replace(Behaviour(), **options)  # type: ignore[arg-type]
    if (behaviour.deltas or 0) * behaviour.chars > LARGEST:
        raise UnknownDirective(f"deltas × chars is more than {LARGEST}")
    faults.sort(key=lambda fault: fault.after)
    return replace(behaviour, faults=tuple(faults))


def _needed(fault: Fault | None) -> int:
    return fault.after + 10 if fault and fault.after < 1_000_000 else 0
