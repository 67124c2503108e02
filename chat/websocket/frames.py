"""The socket's frames: what a browser may say, and what it is told besides events.

Frames are JSON objects with a `type`; unknown fields are ignored, so that an older server understands
a newer page.
"""

from __future__ import annotations

import json
import uuid

import msgspec
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.text import clean

# An older page gets a notice to reload; its unsent messages are kept by the browser.
PROTOCOL_VERSION = 1


class _ClientFrame(msgspec.Struct, frozen=True, tag_field="type"):
    # Mentioned by every frame of our own page; others may leave it out.
    v: int = PROTOCOL_VERSION


class Ask(_ClientFrame, frozen=True, tag="ask", kw_only=True, rename={"resume": "continue"}):
    """Send a message, or ask for another answer. Exactly one of `text`, `regenerate`, `continue`.

    `conversation` null: a new one. `parent` left out: after the end of the shown branch; null: as
    a first message; an id: after that answer (an edit names the parent of the edited message).
    `system_prompt` and `temperature` are those of the conversation that begins; others keep theirs.
    """

    client_id: str
    conversation: uuid.UUID | None = None
    parent: int | msgspec.UnsetType | None = msgspec.UNSET
    text: str | None = None
    regenerate: int | None = None
    resume: int | None = None
    model: int | None = None
    system_prompt: str = ""
    temperature: float | None = None


class Follow(_ClientFrame, frozen=True, tag="follow", kw_only=True):
    """Send this generation's events with a seq above `after`, then go on live."""

    generation: int
    after: int = 0


class Watch(_ClientFrame, frozen=True, tag="watch", kw_only=True):
    """Tell what changes in the person's conversations; `conversation` is the one being looked at."""

    conversation: uuid.UUID | None = None


class Ack(_ClientFrame, frozen=True, tag="ack", kw_only=True):
    """Events of this generation up to `seq` are on the screen."""

    generation: int
    seq: int


class Stop(_ClientFrame, frozen=True, tag="stop", kw_only=True):
    """End this generation and keep its text."""

    generation: int


class Ping(_ClientFrame, frozen=True, tag="ping"):
    """Is anybody there? Answered with `pong`."""


type ClientFrame = Ask | Follow | Watch | Ack | Stop | Ping


class _ServerFrame(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    pass


class Accepted(_ServerFrame, frozen=True, tag="accepted", kw_only=True):
    """The message is stored and will be answered. Its events follow without being asked for."""

    client_id: str
    conversation: uuid.UUID
    user_message: int
    message: int
    generation: int
    repeat: bool = False


class Refusal(_ServerFrame, frozen=True, tag="refused", kw_only=True):
    """Nothing was done. `message` is for people and says what to do."""

    code: str
    message: str
    client_id: str | None = None
    generation: int | None = None
    retry_after_s: float | None = None


class Changed(_ServerFrame, frozen=True, tag="changed", kw_only=True):
    """Something happened to a conversation, perhaps elsewhere.

    `what`: created, started, finished, renamed, deleted, restored, selected, configured.
    """

    conversation: str
    what: str
    generation: int | None = None


class Pong(_ServerFrame, frozen=True, tag="pong"):
    v: int = PROTOCOL_VERSION


type ServerFrame = Accepted | Refusal | Changed | Pong

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ClientFrame).decode


def decode(data: str) -> ClientFrame:
    """Return the frame in `data`. Raises RequestRefused: `malformed`, `unknown_type`, `outdated`."""
    try:
        try:
            frame: ClientFrame = _decode(data)
        except (msgspec.DecodeError, UnicodeEncodeError) as exc:
            if isinstance(exc, msgspec.ValidationError):
                raise
            # Lone surrogates are legal JSON that msgspec refuses; the standard library reads them.
            frame = msgspec.convert(_cleaned(json.loads(data)), ClientFrame)
    except msgspec.ValidationError as exc:
        _refuse_other_versions(data)
        if "`$.type`" in str(exc) or "tag" in str(exc):
            known = "ask, follow, watch, ack, stop, ping"
            raise RequestRefused(
                "unknown_type", _("Frames have a type: %(known)s.") % {"known": known}
            ) from exc
        raise RequestRefused("malformed", _("This frame is not right: %(why)s.") % {"why": exc}) from exc
    except (ValueError, RecursionError) as exc:
        raise RequestRefused("malformed", _("A frame is one JSON object.")) from exc
    if frame.v != PROTOCOL_VERSION:
        raise _outdated()
    return frame


def client_id_of(data: str) -> str | None:
    """Return the client id in a frame that could not be decoded, so that its sender knows which it was."""
    return _hint(data).client_id


def _refuse_other_versions(data: str) -> None:
    """What is wrong in this version may be right in another."""
    if _hint(data).v not in (None, PROTOCOL_VERSION):
        raise _outdated()


def _outdated() -> RequestRefused:
    return RequestRefused("outdated", _("This page is from another version of the program. Reload it."))


class _Hint(msgspec.Struct, frozen=True):
    v: int | None = None
    client_id: str | None = None


def _hint(data: str) -> _Hint:
    try:
        return msgspec.json.decode(data, type=_Hint)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _Hint()


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    return value
