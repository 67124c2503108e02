"""The frames of the websocket: what a browser may send, and what the server sends besides events.

Frames are JSON objects with a `type`. Unknown fields are ignored, so that an older server understands a
newer page.
"""

from __future__ import annotations

import json
import uuid

import msgspec
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.text import clean

# A page of another version is asked to reload; the browser keeps its unsent messages.
PROTOCOL_VERSION = 1


class _ClientFrame(msgspec.Struct, frozen=True, tag_field="type"):
    # Sent with every frame of our own page; other clients may omit it.
    v: int = PROTOCOL_VERSION


class AskFrame(_ClientFrame, frozen=True, tag="ask", kw_only=True, rename={"resume": "continue"}):
    """Send a message, or ask for another answer. Exactly one of `text`, `regenerate`, `continue`.

    `conversation` null: a new one. `parent` omitted: after the end of the shown branch; null: as a first
    message; an id: after that answer (an edit names the parent of the edited message). `system_prompt`,
    `temperature`, `project` and `temporary` apply to a new conversation only. `compare`: with a text, one to
    three further models that answer it beside `model`; `accepted` names the first answer. `later`:
    the provider may answer within a day, at the batch price; only with one model. `attachments`: files of the
    message, as they were uploaded before; the text may then be empty.
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
    project: int | None = None
    temporary: bool = False
    compare: list[int] = []
    later: bool = False
    attachments: list[uuid.UUID] = []


class FollowFrame(_ClientFrame, frozen=True, tag="follow", kw_only=True):
    """Send this generation's events with a seq above `after`, then continue live."""

    generation: int
    after: int = 0


class WatchFrame(_ClientFrame, frozen=True, tag="watch", kw_only=True):
    """Report changes in the user's conversations. `conversation`: the one that the page shows."""

    conversation: uuid.UUID | None = None


class AckFrame(_ClientFrame, frozen=True, tag="ack", kw_only=True):
    """The page has drawn this generation's events up to `seq`."""

    generation: int
    seq: int


class StopFrame(_ClientFrame, frozen=True, tag="stop", kw_only=True):
    """Stop this generation and keep its text."""

    generation: int


class ReadFrame(_ClientFrame, frozen=True, tag="read", kw_only=True):
    """Send the article of this message as the page shows it. Answered with `article`."""

    message: int


class PingFrame(_ClientFrame, frozen=True, tag="ping"):
    """Check the connection. Answered with `pong`."""


type ClientFrame = AskFrame | FollowFrame | WatchFrame | AckFrame | StopFrame | ReadFrame | PingFrame


class _ServerFrame(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    pass


class AcceptedFrame(_ServerFrame, frozen=True, tag="accepted", kw_only=True):
    """The message is stored and will be answered. Its events follow without a `follow`, unless `later`.

    `parent`: the answer that the new message follows; null for a first message, and where `repeat` or another
    answer was asked for. `warning`: what the user should know, such as that a budget is nearly used up.
    """

    client_id: str
    conversation: uuid.UUID
    parent: int | None
    user_message: int
    message: int
    generation: int
    repeat: bool = False
    later: bool = False
    warning: str = ""


class RefusedFrame(_ServerFrame, frozen=True, tag="refused", kw_only=True):
    """The frame had no effect. `message` is for the user and says what to do."""

    code: str
    message: str
    client_id: str | None = None
    generation: int | None = None
    retry_after_s: float | None = None


class ChangedFrame(_ServerFrame, frozen=True, tag="changed", kw_only=True):
    """A conversation changed, perhaps in another tab or through the API.

    `what`: created, started, finished, renamed, organised, deleted, restored, selected, configured,
    redacted; or `batch`, of the batch with this id, and no conversation.
    """

    conversation: str
    what: str
    generation: int | None = None
    batch: str = ""


class ArticleFrame(_ServerFrame, frozen=True, tag="article", kw_only=True):
    """A message as HTML. `html` is missing if it is too long for a frame: `/m/<message>/` has it."""

    message: int
    html: str | None = None


class PongFrame(_ServerFrame, frozen=True, tag="pong"):
    v: int = PROTOCOL_VERSION


type ServerFrame = AcceptedFrame | RefusedFrame | ChangedFrame | ArticleFrame | PongFrame

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
            known = "ask, follow, watch, ack, stop, read, ping"
            raise RequestRefused(
                "unknown_type", _("A frame must have one of these types: %(known)s.") % {"known": known}
            ) from exc
        raise RequestRefused("malformed", _("This frame is invalid: %(why)s.") % {"why": exc}) from exc
    except (ValueError, RecursionError) as exc:
        raise RequestRefused("malformed", _("A frame must be a single JSON object.")) from exc
    if frame.v != PROTOCOL_VERSION:
        raise _outdated()
    return frame


def client_id_of(data: str) -> str | None:
    """Return the client id of a frame that could not be decoded, so that its sender can match the reply."""
    return _hint(data).client_id


def _refuse_other_versions(data: str) -> None:
    """Refuse a frame of another protocol version: its content may be valid there."""
    if _hint(data).v not in (None, PROTOCOL_VERSION):
        raise _outdated()


def _outdated() -> RequestRefused:
    return RequestRefused("outdated", _("This page is from another version of Chatsite. Reload it."))


class _Hint(msgspec.Struct, frozen=True):
    v: int | None = None
    client_id: str | None = None


_decode_hint = msgspec.json.Decoder(_Hint).decode


def _hint(data: str) -> _Hint:
    try:
        return _decode_hint(data)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _Hint()


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _cleaned(item) for key, item in value.items()}
    return value
