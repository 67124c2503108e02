"""The table of everything the fake provider can do: answers, their encoding, faults.

The fields below define the directive language: `[[cut after=10 rate=50]]` names the fault `cut`, its
detail `after` and the option `rate`. `--list`, `docs/rehearse.md` and every "unknown word" message are
generated from these fields, so a new word is added in one place.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from chat.fakeprovider.provider_errors import PROVIDER_ERRORS


@dataclass(frozen=True)
class Keyword:
    """One word of the directive language: how it is written and what it does."""

    name: str
    value: str
    description: str

    @property
    def usage(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


def _word(default: Any, description: str, value: str = "", choices: str = "") -> Any:
    """Return a dataclass field that is a word of the language. Without `value` it is a flag."""
    return field(
        default=default, metadata={"value": choices.replace(" ", "|") or value, "description": description}
    )


@dataclass(frozen=True)
class Fault:
    """A failure that happens once, before the answer or after `after` of its deltas."""

    kind: str
    after: int = _word(3, "deltas that are sent before the fault; `end`: after the last one", "N")
    for_s: float | None = _word(
        None, "how long a stall lasts; without it: until the client disconnects", "SECONDS"
    )
    gate: str = ""
    provider_error: str = ""
    status: int = 500
    code: str = _word(
        "", "the error's code, such as `insufficient_quota`; digits are sent as a number", "WORD"
    )
    type: str = _word("", "the error's type, such as `exceed_context_size_error`", "WORD")
    message: str = _word("", "the error's message; takes the rest of the directive", "TEXT")
    body: str = _word("json", "the format of the error's body", choices="json html empty")
    retry_after: str = _word("", "the header `Retry-After`, sent unchanged, even if it is invalid", "WORD")
    retry_after_date: float = _word(
        0.0, "`Retry-After` as an HTTP date this many seconds ahead (rounded up)", "SECONDS"
    )
    retry_after_ms: str = _word("", "the header `retry-after-ms`", "WORD")
    should_retry: str = _word("", "the header `x-should-retry`", choices="true false")


@dataclass(frozen=True)
class Condition:
    """The attempts on which a directive applies. An attempt is a request with the same question."""

    times: int = _word(0, "only the first N attempts at the same question", "N")
    on: int = _word(0, "only attempt N at the same question", "N")
    chance: float = _word(
        1.0, "only with this probability (decided by the seed: the same in every run)", "0..1"
    )


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered."""

    rate: float | None = _word(None, "deltas per second; 0: as fast as possible", "N")
    deltas: int | None = _word(None, "number of deltas of the answer (60, or enough for the fault)", "N")
    chars: int = _word(4, "characters per delta", "N")
    text: str | None = _word(
        None, "the exact answer; takes the rest of the directive, understands \\n and \\uXXXX", "TEXT"
    )
    echo: bool = _word(False, "answer with the question itself, directives removed")
    stamp: bool = _word(False, "each delta is the time at which it is sent (monotonic clock, seconds)")
    seed: int | None = _word(None, "another text; without it the question determines the text", "N")
    vary: bool = _word(False, "another text on every attempt, as real models do")
    headers_s: float = _word(0.0, "wait before the headers", "SECONDS")
    first_s: float = _word(0.0, "wait between the headers and the first delta", "SECONDS")
    keepalive_s: float = _word(0.0, "send a comment at this interval during every wait", "SECONDS")
    finish: str = _word(
        "", "the finish reason, such as `length` or `content_filter`; `none`: never sent", "WORD"
    )
    no_done: bool = _word(False, "end without `[DONE]`")
    usage: str = _word(
        "auto",
        "token counts: if requested, always, never, or inside the finish event; or there, of an odd type",
        choices="auto always never inline floats strings empty",
    )
    shape: str = _word(
        "delta",
        "where the text is: `delta`, a list of parts there, `message`, or `text` as in the older API",
        choices="delta parts message text",
    )
    early_finish: bool = _word(False, "the finish reason is sent with every delta, from the first one on")
    second_choice: bool = _word(False, "another answer arrives in the same events, as choice 1")
    bom: bool = _word(False, "a byte order mark comes first")
    reasoning: int = _word(0, "N deltas of reasoning come first", "N")
    reasoning_key: str = _word(
        "reasoning_content",
        "the key under which reasoning is sent",
        choices="reasoning_content reasoning both",
    )
    refusal: bool = _word(False, "the text is sent as a refusal, not as content")
    tool_calls: int = _word(0, "N tool calls instead of text", "N")
    capable: bool = _word(
        False, "call the tools that are offered, write JSON that fits a schema, reason if asked to"
    )
    text_first: bool = _word(False, "with tool_calls: the text comes before the calls")
    images: int = _word(0, "N pictures after the text", "N")
    images_first: bool = _word(False, "with images: they come before the text")
    image_shape: str = _word(
        "images",
        "how pictures are sent: in `images` as OpenRouter and LiteLLM do (or there twice), as parts of the "
        "content in one of five forms, as an address of the web, or as something that is no usable picture",
        choices="images twice parts output call source inline address broken bomb svg garbage",
    )
    nul: bool = _word(False, "a NUL character in every tenth delta")
    lone: bool = _word(False, "half a surrogate pair in every tenth delta")
    role_only: bool = _word(False, "role, content null and empty, finish: no text at all")
    null_content: bool = _word(False, "events with `content: null` between the deltas")
    no_choices: bool = _word(False, "events with `choices: []` between the deltas")
    comments: bool = _word(False, "comment lines between the events")
    crlf: bool = _word(False, "lines end with CR LF")
    ascii: bool = _word(False, "everything beyond ASCII as \\uXXXX, as Python servers do")
    split_pairs: bool = _word(False, "each emoji is split over two deltas, half a surrogate pair in each")
    segment: int = _word(0, "N bytes per TCP segment: events, UTF-8 and escapes are cut anywhere", "N")
    segment_s: float = _word(0.0, "wait between such segments", "SECONDS")
    split: bool = _word(False, "segments end inside each character beyond ASCII and inside each escape")
    join: int = _word(1, "N deltas in one segment", "N")
    close_delimited: bool = _word(False, "no chunked framing: the end of the connection is the end")
    unstreamed: bool = _word(False, "answer a streamed request with one JSON document")
    context: int = _word(0, "reject prompts of more than N words with context_length_exceeded", "N")
    context_error: str = _word("openai", "which server's error that is", choices="openai llama")
    alternate: bool = _word(
        False, "reject a conversation whose turns do not alternate with 400, as chat templates do"
    )
    refuse: str = _word(
        "", "reject requests with one of these, between `+`, with 400: fields, `system`, `image`", "NAMES"
    )
    prefill: str = _word(
        "plain",
        "a last message by the assistant is continued (llama: repeated first unless streamed; vllm, "
        "prefix: only if the request has that server's flag), repeated first, rejected with 400, or ignored",
        choices="plain llama vllm prefix echo reject ignore",
    )
    batch_line: str = _word(
        "",
        "in a batch: the line fails, expires, has two results, or none",
        choices="failed expired doubled missing",
    )
    batch_end: str = _word(
        "",
        "how the batch with this line ends: it is refused as a whole, or half of it is run",
        choices="failed expired cancelled",
    )
    faults: tuple[Fault, ...] = ()


# Faults before the answer, and faults during it.
BEFORE = {
    "status": "this status and an error instead of an answer (see code, type, body, retry_after …)",
    "provider_error": "an error as a provider sends it, such as `groq.rate` (see provider_errors.py)",
    "silent": "accept the connection, read the request, never answer (for_s: then close)",
    "reset_early": "reset the TCP connection before any header",
    "close_early": "close the connection before any header",
    "garbage": "answer with something that is not HTTP",
    "empty": "200 with an empty body",
    "html": "200 with an HTML page, as captive proxies do",
}
DURING = {
    "cut": "the body ends cleanly, without finish reason and `[DONE]`",
    "drop": "the connection is closed in the middle of the body",
    "reset": "the TCP connection is reset in the middle of the body",
    "stall": "nothing more is sent for `for_s` seconds (comments, with keepalive_s)",
    "hold": "nothing more is sent until the gate with this name is released",
    "malformed": "one line of invalid JSON; then the answer continues",
    "error": '`data: {"error": …}` inside the 200, then the end',
    "event_error": "`event: error` inside the 200, then the end",
}
# Names for whole directives, short enough for a model's name.
PRESETS = {
    "slow": ("rate=5 first_s=2", "five deltas a second after two seconds"),
    "fast": ("rate=0", "as fast as possible"),
    "huge": ("deltas=1 chars=1048576", "one delta of a mebibyte"),
    "long": ("deltas=100000 rate=0", "a hundred thousand deltas"),
    "thinker": ("reasoning=100", "a hundred deltas of reasoning before the answer"),
    "down": ("status=503", "every request fails"),
    "busy": ("status=429 retry_after=2", "rate limited"),
    "overloaded": ("status=529 retry_after=2", "overloaded"),
    "quota": ("status=429 code=insufficient_quota should_retry=false", "no credit left: a retry is useless"),
    "filtered": ("status=400 code=content_filter", "the prompt was filtered"),
    "flaky": ("drop chance=0.3", "three out of ten answers are dropped in the middle"),
    "healthy": ("", "ignore directives of lower precedence: this request is answered without faults"),
}


def _keywords(of: type[Any]) -> dict[str, Keyword]:
    words = [f for f in fields(of) if f.metadata]
    return {f.name: Keyword(f.name, f.metadata["value"], f.metadata["description"]) for f in words}


OPTIONS = _keywords(Behaviour)
DETAILS = _keywords(Fault)
WHEN = _keywords(Condition)
_FAULT_VALUES = {"status": "N", "provider_error": "NAME", "hold": "NAME"}
FAULTS = {name: Keyword(name, _FAULT_VALUES.get(name, ""), text) for name, text in (BEFORE | DURING).items()}
NAMED = {
    name: Keyword(name, "", f"{text}: `{directive}`" if directive else text)
    for name, (directive, text) in PRESETS.items()
}
SECTIONS: Mapping[str, dict[str, Keyword]] = {
    "The answer and its form": OPTIONS,
    "Faults before the answer": {name: FAULTS[name] for name in BEFORE},
    "Faults in the middle of the answer": {name: FAULTS[name] for name in DURING},
    "Details of a fault": DETAILS,
    "When it applies": WHEN,
    "Names for the frequent ones": NAMED,
}
WORDS: dict[str, Keyword] = {name: word for section in SECTIONS.values() for name, word in section.items()}
# The value of these words is the rest of the directive, spaces included.
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


# A larger number of deltas or characters can only be a mistake, and would fill the memory.
LARGEST = 100_000_000
# `after=end`: beyond any answer's length, so that it sorts last.
AT_END = 1 << 60
_VALUE_READERS = {"N": _count, "SECONDS": _amount, "0..1": _amount}
_READERS: dict[str, Callable[[str], object]] = {
    "after": _position,
    "rate": _amount,
    "status": _status,
    "provider_error": lambda value: _one_of(value, PROVIDER_ERRORS),
}


def reader(name: str) -> Callable[[str], object]:
    """Return the function that parses the value of the word `name`. It raises ValueError."""
    word = WORDS[name]
    if name in _READERS:
        return _READERS[name]
    if "|" in word.value:
        return lambda value: _one_of(value, word.value.split("|"))
    return _VALUE_READERS.get(word.value, str)


def _one_of(value: str, choices: Collection[str]) -> str:
    if value not in choices:
        raise ValueError(value)
    return value


def describe(behaviour: Behaviour) -> str:
    """Return a behaviour as a directive: only what differs from a plain answer."""
    words = [
        _write(OPTIONS[name].value, name, getattr(behaviour, name))
        for name in OPTIONS
        if getattr(behaviour, name) != getattr(Behaviour, name)
    ]
    for fault in behaviour.faults:
        details = [
            _write(DETAILS[name].value, name, getattr(fault, name))
            for name in DETAILS
            if getattr(fault, name) != getattr(Fault, name)
        ]
        value = {"status": fault.status, "provider_error": fault.provider_error}.get(fault.kind)
        words.append(" ".join([fault.kind if value is None else f"{fault.kind}={value}", *details]))
    return "; ".join(words)


def _write(value_form: str, name: str, value: object) -> str:
    return f"{name}={value}" if value_form else name
