"""The websocket at /v1/responses: requests as frames, their events as frames, one response after another.

A client that leaves stops the response in progress, as with a stream over HTTP. Frames that arrive meanwhile
wait for their turn.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Any

import msgspec
from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.utils.translation import gettext as _

from chat.api import bodies
from chat.api.auth import key_of
from chat.api.errors import ApiError, internal_error
from chat.api.invalid_body import InvalidBody
from chat.api.requests import find_model
from chat.api.responses import requests, views
from chat.api.responses import schemas as wire
from chat.api.responses.chains import KnownResponses
from chat.api.responses.events import ResponseEvent
from chat.api.responses.ids import response_id
from chat.api.responses.parsing import ParsedFrame, parse_frame
from chat.api.responses.streaming import error_payload, read_response
from chat.background import BackgroundTasks
from chat.errors import RequestRefused
from chat.models import ApiKey
from chat.runtime.connections import OpenStream
from chat.runtime.process import current_runtime

logger = logging.getLogger(__name__)

POLICY_VIOLATION, SERVICE_RESTART = 1008, 1012
# Frames that may wait while a response is in progress.
WAITING_MAX = 8


class ResponsesConsumer(AsyncWebsocketConsumer):
    """One socket of one program."""

    channel_layer_alias = "unused"

    async def connect(self) -> None:
        # Accepted first: a refused handshake would not tell the program why.
        await self.accept()
        self._tasks = BackgroundTasks()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MAX)
        self._known = KnownResponses()
        self._open_stream: OpenStream | None = None
        try:
            self._key = await key_of(self._header(b"authorization"), ApiKey.Scope.CHAT)
        except ApiError as error:
            await self._send_error(error)
            await self.close(POLICY_VIOLATION)
            return
        self._open_stream = OpenStream(self._key.pk, self._end)
        current_runtime().connections.streams.add(self._open_stream)
        self._tasks.start(self._answer_frames(), "responses over a socket")

    def _header(self, name: bytes) -> str:
        return str(dict(self.scope["headers"]).get(name, b"").decode("latin-1"))

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle one message as Channels does, but without its thread hop to tidy connections."""
        await getattr(self, get_handler_name(message))(message)

    async def disconnect(self, code: int) -> None:
        if self._open_stream is not None:
            current_runtime().connections.streams.discard(self._open_stream)
        await self._tasks.close()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Keep one frame until it is its turn."""
        if self._open_stream is None:
            return
        try:
            self._frames.put_nowait(bytes_data if text_data is None else text_data.encode())  # type: ignore[arg-type]
        except asyncio.QueueFull:
            message = _("Too many frames wait on this connection. Wait for the end of a response.")
            await self._send_error(ApiError("too_many_running", message))

    def _end(self, code: str) -> None:
        """Close the socket: its key is no longer valid, or the server stops."""
        self._tasks.start(self._close_because(code), "close a socket")

    async def _close_because(self, code: str) -> None:
        is_restart = code == "restarting"
        message = (
            _("This server is restarting. Connect again.") if is_restart else _("This API key has ended.")
        )
        await self._send_error(ApiError(code, message))
        await self.close(SERVICE_RESTART if is_restart else POLICY_VIOLATION)

    # -- frames -------------------------------------------------------------------------------------

    async def _answer_frames(self) -> None:
        while True:
            data = await self._frames.get()
            previous = None
            try:
                frame = await asyncio.to_thread(parse_frame, data)
                previous = frame.body.options.previous_response_id
                if await self._answer(frame):
                    continue
            except InvalidBody as exc:
                await self._send_error(bodies.invalid(exc))
            except RequestRefused as refused:
                await self._send_error(ApiError.of(refused))
            except ApiError as error:
                await self._send_error(error)
            except Exception:
                logger.exception("a frame of a program could not be handled")
                await self._send_error(internal_error())
            # A failed turn must not be continued as if it had not been.
            self._known.forget(previous)

    async def _answer(self, frame: ParsedFrame) -> bool:
        """Send the events of one response; return whether it is complete. Raises ApiError."""
        if not frame.is_generated:
            await self._prepare(frame)
            return True
        received = await requests.from_parsed(self._key, frame.body, self._known)
        started = await views.begin(self._key, received)
        follower = views.follow(self._key, started, received)
        try:
            found = await views.look_up(self._key, started.generation_id)
            reader = await read_response(self._key, found)
            await self._send_events(reader.opening())
            async for rows in follower.rows():
                for row in rows:
                    await self._send_events(await reader.events_of(row))
        finally:
            follower.release()
        wire_id = response_id(started.generation_id)
        if reader.is_complete and received.options.store is False:
            self._known.unstored.add(wire_id)
        return reader.is_complete

    async def _prepare(self, frame: ParsedFrame) -> None:
        """Answer with an empty response, which the next request of this connection can continue."""
        options = frame.body.options
        await database_sync_to_async(find_model)(options.model, "model")
        prepared = await requests.prepare(self._key, frame.body, self._known)
        wire_id = f"resp_prepared_{secrets.token_hex(12)}"
        self._known.prepared[wire_id] = prepared
        response = _empty(wire_id, options)
        begun = msgspec.structs.replace(response, status="in_progress", completed_at=None, usage=None)
        for number, (kind, value) in enumerate(
            [("created", begun), ("in_progress", begun), ("completed", response)]
        ):
            await self._send_events([ResponseEvent(number, f"response.{kind}", {"response": value})])

    async def _send_events(self, made: list[ResponseEvent]) -> None:
        for event in made:
            await self.send(event.payload.decode())

    async def _send_error(self, error: ApiError, position: int = 0) -> None:
        payload = error_payload(error, position, status=error.status)
        await self.send(payload.decode())


def _empty(wire_id: str, options: wire.ResponseOptions) -> wire.ResponseObject:
    """Return a complete response without output."""
    now = int(time.time())
    return wire.ResponseObject(
        id=wire_id,
        created_at=now,
        completed_at=now,
        status="completed",
        model=options.model,
        previous_response_id=options.previous_response_id,
        output=[],
        store=False,
        usage=wire.ResponseUsage(input_tokens=0, output_tokens=0, total_tokens=0),
        **requests.echo_of(options),
    )
