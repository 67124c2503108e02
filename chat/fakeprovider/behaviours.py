"""The table of everything the fake provider can do: answers, their form on the wire, faults.

The fields below ARE the language: `[[cut after=10 rate=50]]` names the fault `cut`, its detail
`after` and the option `rate`. `--list`, `docs/rehearse.md` and every "unknown word" message are
made from the same fields, so a new row needs no second place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Row:
    """One word of the language: how it is written and what it does."""

    name: str
    value: str
    says: str

    @property
    def usage(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


def _row(default: Any, says: str, value: str = "", choices: str = "") -> Any:
    """Return a dataclass field that knows how it is written. No `value`: a flag."""
    return field(default=default, metadata={"value": choices.replace(" ", "|") or value, "says": says})


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong once, before the answer or after `after` deltas of it."""

    kind: str
    after: int = _row(3, "how many deltas are sent before it strikes; `end`: after the last one", "N")
    for_s: float | None = _row(None, "how long a stall lasts; without it: until the client leaves", "SECONDS")
    gate: str = ""
    status: int = 500
    code: str = _row(
        "", "the error's code, such as `insufficient_quota`; digits are sent as a number", "WORD"
    )
    type: str = _row("", "the error's type, such as `exceed_context_size_error`", "WORD")
    message: str = _row("", "the error's message; takes the rest of the directive", "TEXT")
    body: str = _row("json", "the form of an error's body", choices="json html empty")
    retry_after: str = _row("", "the header `Retry-After`, word for word, absurd ones too", "WORD")
    retry_after_date: float = _row(
        0.0, "`Retry-After` as an HTTP date so many seconds ahead (rounded up)", "SECONDS"
    )
    retry_after_ms: str = _row("", "the header `retry-after-ms`", "WORD")
    should_retry: str = _row("", "the header `x-should-retry`", choices="true false")


@dataclass(frozen=True)
class When:
    """On which attempts a directive counts. An attempt is one more request with the same question."""

    times: int = _row(0, "only the first N attempts at the same question", "N")
    on: int = _row(0, "only attempt N at the same question", "N")
    chance: float = _row(1.0, "only with this probability (by the seed: the same in every run)", "0..1")


@dataclass(frozen=True)
class Behaviour:
    """What one request will be answered with."""

    rate: float | None = _row(None, "deltas a second; 0: as fast as possible", "N")
    deltas: int | None = _row(None, "how many deltas the answer has (60, or enough for the fault)", "N")
    chars: int = _row(4, "characters a delta", "N")
    text: str | None = _row(
        None, "answer exactly this; takes the rest of the directive, knows \\n and \\uXXXX", "TEXT"
    )
    echo: bool = _row(False, "answer with the question itself, directives removed")
    seed: int | None = _row(None, "another text; without it the question decides", "N")
    vary: bool = _row(False, "another text on every attempt, as real models do")
    headers_s: float = _row(0.0, "wait before the headers", "SECONDS")
    first_s: float = _row(0.0, "wait between the headers and the first delta", "SECONDS")
    keepalive_s: float = _row(0.0, "send a comment this often in every wait", "SECONDS")
    finish: str = _row(
        "", "the finish reason, such as `length` or `content_filter`; `none`: never sent", "WORD"
    )
    no_done: bool = _row(False, "end without `[DONE]`")
    usage: str = _row(
        "auto",
        "token counts: if asked for, always, never, or inside the finish event",
        choices="auto always never inline",
    )
    reasoning: int = _row(0, "N deltas of reasoning come first", "N")
    reasoning_key: str = _row(
        "reasoning_content", "the name reasoning is sent under", choices="reasoning_content reasoning both"
    )
    refusal: bool = _row(False, "the text comes as a refusal, not as content")
    tool_calls: int = _row(0, "N tool calls instead of text", "N")
    nul: bool = _row(False, "a NUL character in every tenth delta")
    lone: bool = _row(False, "half a surrogate pair in every tenth delta")
    role_only: bool = _row(False, "role, content null and empty, finish: no text at all")
    null_content: bool = _row(False, "events with `content: null` between the deltas")
    no_choices: bool = _row(False, "events with `choices: []` between the deltas")
    comments: bool = _row(False, "comment lines between the events")
    crlf: bool = _row(False, "lines end with CR LF")
    ascii: bool = _row(False, "everything beyond ASCII as \\uXXXX, as Python servers do")
    split_pairs: bool = _row(False, "each emoji is split over two deltas, half a surrogate pair in each")
    segment: int = _row(0, "N bytes per TCP segment: events, UTF-8 and escapes are cut anywhere", "N")
    segment_s: float = _row(0.0, "wait between such segments", "SECONDS")
    split: bool = _row(False, "segments end inside each character beyond ASCII and inside each escape")
    join: int = _row(1, "N deltas in one segment", "N")
    close_delimited: bool = _row(False, "no chunked framing: the end of the connection is the end")
    unstreamed: bool = _row(False, "answer a streamed request with one JSON document")
    context: int = _row(0, "refuse prompts of more than N words, context_length_exceeded", "N")
    context_error: str = _row("openai", "whose words that refusal is in", choices="openai llama")
    prefill: str = _row(
        "plain",
        "a last message of the assistant's is continued (llama: repeated first unless streamed; vllm, "
        "prefix: only if it comes with that server's flag), repeated first, refused with 400, or ignored",
        choices="plain llama vllm prefix echo reject ignore",
    )
    faults: tuple[Fault, ...] = ()


# Faults that strike before the answer, and those that strike in its midst.
BEFORE = {
    "status": "answer this status and an error instead (see code, type, body, retry_after …)",
    "silent": "accept the connection, read the request, never answer (for_s: then close)",
    "reset_early": "reset the TCP connection before any header",
    "close_early": "close the connection before any header",
    "garbage": "answer with something that is not HTTP",
    "empty": "200 with an empty body",
    "html": "200 with an HTML page, as captive proxies do",
}
DURING = {
    "cut": "the body ends cleanly, without finish reason and `[DONE]`",
    "drop": "the connection is closed in mid-body",
    "reset": "the TCP connection is reset in mid-body",
    "stall": "nothing more is sent for `for_s` seconds (comments, with keepalive_s)",
    "hold": "nothing more is sent until the gate of this name is released",
    "malformed": "one line of broken JSON, then on as if nothing had been",
    "error": '`data: {"error": …}` inside the 200, then the end',
    "event_error": "`event: error` inside the 200, then the end",
}
# Names for whole directives, so that they fit a model's name.
PRESETS = {
    "slow": ("rate=5 first_s=2", "five deltas a second after two seconds"),
    "fast": ("rate=0", "as fast as possible"),
    "huge": ("deltas=1 chars=1048576", "one delta of a mebibyte"),
    "long": ("deltas=100000 rate=0", "a hundred thousand deltas"),
    "thinker": ("reasoning=100", "a hundred deltas of reasoning before the answer"),
    "down": ("status=503", "every request fails"),
    "busy": ("status=429 retry_after=2", "rate limited"),
    "overloaded": ("status=529 retry_after=2", "overloaded"),
    "quota": ("status=429 code=insufficient_quota should_retry=false", "no money left: retrying is useless"),
    "filtered": ("status=400 code=content_filter", "the prompt was filtered"),
    "flaky": ("drop chance=0.3", "three answers of ten are dropped in the middle"),
    "healthy": ("", "forget what weaker places say: this request is answered well"),
}


def _rows(of: type[Any]) -> dict[str, Row]:
    found = [f for f in fields(of) if f.metadata]
    return {f.name: Row(f.name, f.metadata["value"], f.metadata["says"]) for f in found}


OPTIONS = _rows(Behaviour)
DETAILS = {name: row for name, row in _rows(Fault).items() if name not in ("status", "gate")}
WHEN = _rows(When)
_FAULT_VALUES = {"status": "N", "hold": "NAME"}
FAULTS = {name: Row(name, _FAULT_VALUES.get(name, ""), says) for name, says in (BEFORE | DURING).items()}
NAMED = {name: Row(name, "", f"{says}: `{does}`" if does else says) for name, (does, says) in PRESETS.items()}
SECTIONS: Mapping[str, dict[str, Row]] = {
    "The answer and its form": OPTIONS,
    "Faults before the answer": {name: FAULTS[name] for name in BEFORE},
    "Faults in the middle of the answer": {name: FAULTS[name] for name in DURING},
    "Details of a fault": DETAILS,
    "When it counts": WHEN,
    "Names for the frequent ones": NAMED,
}
WORDS: dict[str, Row] = {name: row for section in SECTIONS.values() for name, row in section.items()}
# These take the rest of their directive, spaces and all.
GREEDY = {"text", "message"}


def _count(value: str) -> int:
    number = int(value)
    if not 0 <= number <= LARGEST:
        raise ValueError(value)
    return number


def _amount(value: str) -> float:
    number = float(value)
    if not 0 <= number < 1e9:
        raise ValueError(value)
    return number


def _position(value: str) -> int:
    return AT_END if value == "end" else _count(value)


def _status(value: str) -> int:
    number = int(value)
    if not 200 <= number <= 599:
        raise ValueError(value)
    return number


# Nobody means more than this many deltas or characters; it would only fill the memory.
LARGEST = 100_000_000
# `after=end`: beyond any answer's length, so that it sorts last.
AT_END = 1 << 60
_WORDY = {"N": _count, "SECONDS": _amount, "0..1": _amount}
_READERS: dict[str, Callable[[str], object]] = {"after": _position, "rate": _amount, "status": _status}


def reader(name: str) -> Callable[[str], object]:
    """Return what turns the value of the word `name` into Python. It raises ValueError."""
    row = WORDS[name]
    if name in _READERS:
        return _READERS[name]
    if "|" in row.value:
        return lambda value: _one_of(value, row.value.split("|"))
    return _WORDY.get(row.value, str)


def _one_of(value: str, choices: list[str]) -> str:
    if value not in choices:
        raise ValueError(value)
    return value


def describe(behaviour: Behaviour) -> str:
    """Return a behaviour in its own language, only what differs from a plain answer."""
    words = [
        _spell(OPTIONS[name].value, name, getattr(behaviour, name))
        for name in OPTIONS
        if getattr(behaviour, name) != getattr(Behaviour, name)
    ]
    for fault in behaviour.faults:
        details = [
            _spell(DETAILS[name].value, name, getattr(fault, name))
            for name in DETAILS
            if getattr(fault, name) != getattr(Fault, name)
        ]
        words.append(
            " ".join([f"{fault.kind}={fault.status}" if fault.kind == "status" else fault.kind, *details])
        )
    return "; ".join(words)


def _spell(value: str, name: str, is_set: object) -> str:
    return f"{name}={is_set}" if value else name
