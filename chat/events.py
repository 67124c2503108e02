"""The events of a generation, with the same names in the log, on the wire and on the screen.

An event is stored in the delta log as its JSON and sent to browsers as the same JSON with
`generation` and `seq` in front. `type` is the struct's tag.
"""

from collections.abc import Iterable
from typing import Any

import msgspec


class _Event(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    pass


class Queued(_Event, frozen=True, tag="queued"):
    """Waiting for a slot. `position` counts from 1 and is sent again when it changes; 0: unknown."""

    position: int = 0


class Started(_Event, frozen=True, tag="started"):
    """An upstream call was sent to `model`."""

    model: str
    attempt: int = 1


class Retrying(_Event, frozen=True, tag="retrying"):
    """Attempt `attempt` of `of` follows in `wait_s` seconds, because of `code`.

    `breaker_open`: no call is made until then, and another such wait may follow.
    """

    attempt: int
    of: int
    wait_s: float
    code: str
    message: str


class Switched(_Event, frozen=True, tag="switched"):
    """From here on `model` is called: the previous model could not answer, because of `code`."""

    model: str
    code: str
    message: str


class Thinking(_Event, frozen=True, tag="thinking"):
    """The model's reasoning, which comes before its answer."""

    text: str


class Delta(_Event, frozen=True, tag="delta"):
    """The next piece of the answer. `is_refusal`: the model declines, and says so in a field of its own."""

    text: str
    is_refusal: bool = False


class ToolCall(_Event, frozen=True, tag="tool_call"):
    """A piece of a tool call: what the model wants the program to run.

    `index` counts the calls of an answer from 0. `id` and `name` are in the first piece of an index only.
    `arguments`: the next piece of a text that should be JSON; may be empty.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Image(_Event, frozen=True, tag="image"):
    """A picture of the answer. `attachment`: the id of what is kept of it.

    `problem`: why there is nothing to show; empty: there is. `address`: where on the web it is, if the model
    sent only that; nothing loads it.
    """

    attachment: str
    name: str
    width: int = 0
    height: int = 0
    problem: str = ""
    address: str = ""


class WholeToolCall(msgspec.Struct, frozen=True):
    """A tool call in one piece. Of an answer that did not complete, `arguments` may end early."""

    id: str
    name: str
    arguments: str


class ChoicePiece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of one choice, or its end (`finish_reason`).

    `logprobs`: the log probabilities of the piece's tokens, as the endpoint sent them.
    """

    index: int
    text: str = ""
    thinking: str = ""
    refusal: str = ""
    tool_calls: list[ToolCall] = []
    logprobs: dict[str, Any] | None = None
    finish_reason: str = ""

    @property
    def written(self) -> str:
        """All that the model wrote in this piece."""
        calls = (call.arguments for call in self.tool_calls)
        return "".join((self.thinking, self.text, self.refusal, *calls))


class Choices(_Event, frozen=True, tag="choices"):
    """Pieces of all choices, for a request with `n` above 1 or `logprobs`.

    The first choice is told by the other events as well, like any answer.
    """

    pieces: list[ChoicePiece]


class WholeChoice(msgspec.Struct, frozen=True):
    """A choice in one piece. `finish_reason` is empty if the answer did not complete."""

    index: int
    text: str
    thinking: str
    refusal: str
    tool_calls: list[WholeToolCall]
    logprobs: dict[str, Any] | None
    finish_reason: str


class Continued(_Event, frozen=True, tag="continued"):
    """The answer was cut, because of `code`; `model` received the text so far and continues it."""

    model: str
    code: str
    message: str


# The reason of `Restarted` if the text so far turned out to be reasoning, and follows as `Thinking`.
BECAME_REASONING = "reasoning"


class Restarted(_Event, frozen=True, tag="restarted"):
    """Text, thinking, tool calls and pictures of this generation start again, empty, after this event."""

    reason: str


class Completed(_Event, frozen=True, tag="completed"):
    """The model ended its answer. `finish_reason` is the provider's: `stop`, `length`, …"""

    finish_reason: str


class Stopped(_Event, frozen=True, tag="stopped"):
    """A user stopped the generation. The text so far is kept."""


class Failed(_Event, frozen=True, tag="failed"):
    """There is no answer; `message` says what to do.

    `retry_after_s`: when to try again, if known. `param`: the field of the request that was at fault, if the
    endpoint named one.
    """

    code: str
    message: str
    retry_after_s: float | None = None
    param: str = ""


class Interrupted(_Event, frozen=True, tag="interrupted"):
    """The answer was cut and not completed. The text so far is kept."""

    code: str
    message: str


class Snapshot(_Event, frozen=True, tag="snapshot"):
    """The whole of a generation whose log is gone: final when `status` says so."""

    status: str
    text: str
    thinking: str = ""
    finish_reason: str = ""
    code: str = ""
    message: str = ""
    tool_calls: list[WholeToolCall] = []
    is_refusal: bool = False
    images: list[Image] = []


type Event = (
    Queued
    | Started
    | Retrying
    | Switched
    | Thinking
    | Delta
    | ToolCall
    | Choices
    | Image
    | Continued
    | Restarted
    | Completed
    | Stopped
    | Failed
    | Interrupted
    | Snapshot
)
type Terminal = Completed | Stopped | Failed | Interrupted

TERMINAL = (Completed, Stopped, Failed, Interrupted, Snapshot)


def whole_tool_calls(pieces: Iterable[ToolCall]) -> list[WholeToolCall]:
    """Return the tool calls that these pieces add up to, by index."""
    first: dict[int, ToolCall] = {}
    arguments: dict[int, list[str]] = {}
    for piece in pieces:
        first.setdefault(piece.index, piece)
        arguments.setdefault(piece.index, []).append(piece.arguments)
    return [
        WholeToolCall(first[index].id, first[index].name, "".join(arguments[index]))
        for index in sorted(first)
    ]


def whole_choices(pieces: Iterable[ChoicePiece]) -> list[WholeChoice]:
    """Return the choices that these pieces add up to, by index."""
    by_index: dict[int, list[ChoicePiece]] = {}
    for piece in pieces:
        by_index.setdefault(piece.index, []).append(piece)
    return [_whole_choice(index, by_index[index]) for index in sorted(by_index)]


def _whole_choice(index: int, pieces: list[ChoicePiece]) -> WholeChoice:
    logprobs: dict[str, Any] = {}
    for piece in pieces:
        for name, value in (piece.logprobs or {}).items():
            if isinstance(value, list):
                logprobs[name] = logprobs.get(name) or []
                logprobs[name] += value
            else:
                logprobs.setdefault(name, value)
    return WholeChoice(
        index,
        "".join(piece.text for piece in pieces),
        "".join(piece.thinking for piece in pieces),
        "".join(piece.refusal for piece in pieces),
        whole_tool_calls(call for piece in pieces for call in piece.tool_calls),
        logprobs or None,
        pieces[-1].finish_reason,
    )


# Built while one thread imports this: two threads that use a struct first, at once, crash msgspec.
msgspec.json.Decoder(WholeChoice)
encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Event).decode
