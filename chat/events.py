"""The events of a generation, with the same names in the log, on the wire and on the screen.

An event is stored in the delta log as its JSON and sent to browsers as the same JSON with
`generation` and `seq` in front. `type` is the struct's tag.
"""

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
    """The next piece of the answer."""

    text: str


class Continued(_Event, frozen=True, tag="continued"):
    """The answer was cut, because of `code`; `model` received the text so far and continues it."""

    model: str
    code: str
    message: str


# The reason of `Restarted` if the text so far turned out to be reasoning, and follows as `Thinking`.
BECAME_REASONING = "reasoning"


class Restarted(_Event, frozen=True, tag="restarted"):
    """Text and thinking of this generation start again, empty, after this event."""

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


type Event = (
    Queued
    | Started
    | Retrying
    | Switched
    | Thinking
    | Delta
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

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Event).decode
