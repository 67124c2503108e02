"""The websocket: frames in, events out. It holds no model stream; a lost socket loses nothing.

A handler parses, checks access and calls one verb. It never waits for a model: answers are followed
by tasks of their own, one writer each, straight from the delta log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.utils.translation import gettext as _

from chat import notifications, tasks
from chat.errors import RequestRefused
from chat.event_log import log as delta_log
from chat.models import sign_in as access
from chat.models.conversation import Conversation, not_found
from chat.models.generation import Generation, StartedGeneration
from chat.runtime import heartbeat
from chat.websocket import frames

logger = logging.getLogger(__name__)

# Close codes of our own: 4000-4999 are for applications.
SIGNED_OUT = 4401
SOMEBODY_ELSE = 4403
FOLLOWS_PER_SOCKET = 64


class ChatConsumer(AsyncWebsocketConsumer):
    """One page of one signed-in person."""

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        self._follows: dict[int, _Follow] = {}
        self._window = _Window(settings.ACK_WINDOW_BYTES)
        self._is_watching = False
        self._open_socket: heartbeat.OpenSocket | None = None
        if not user.is_authenticated:
            # Accepted first: a refused handshake would not tell the page why.
            await self.close(SIGNED_OUT)
            return
        if self._is_page_of_another(user):
            await self.close(SOMEBODY_ELSE)
            return
        self._user_id: int = user.pk
        self._session_key: str = self.scope["session"].session_key or ""
        self._open_socket = heartbeat.OpenSocket(
            self._user_id, self._session_key, partial(self.close, SIGNED_OUT)
        )
        heartbeat.open_sockets.add(self._open_socket)

    def _is_page_of_another(self, user: AbstractUser) -> bool:
        """Whether the page was made for somebody else: what it sends must not be sent as this person."""
        named = parse_qs(self.scope["query_string"].decode(errors="replace")).get("user")
        return named is not None and named != [str(user.pk)]

    async def disconnect(self, code: int) -> None:
        if self._open_socket is not None:
            heartbeat.open_sockets.discard(self._open_socket)
        if self._is_watching:
            await self.channel_layer.group_discard(notifications.group_of(self._user_id), self.channel_name)
        for follow in self._follows.values():
            follow.task.cancel()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle one message as Channels does, but without its visit to a thread to tidy connections.

        That costs more than most frames, and whatever uses the database here tidies up after itself.
        """
        await getattr(self, get_handler_name(message))(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one frame; whatever is wrong with it, the socket lives on."""
        if self._open_socket is None:
            return
        frame = None
        try:
            frame = _parse(text_data)
            await self._handle(frame)
        except RequestRefused as refused:
            await self._refuse(refused, frame, text_data)
        except _SignedOut:
            await self.close(SIGNED_OUT)
        except Exception:
            logger.exception("a frame could not be handled")
            message = _("Something went wrong in this program. Try again.")
            await self._refuse(RequestRefused("internal", message), frame, text_data)

    async def _handle(self, frame: frames.ClientFrame) -> None:
        match frame:
            case frames.Ack():
                self._acknowledge(frame)
            case frames.Ping():
                await self._send(frames.Pong())
            case frames.Ask():
                await self._ask(frame)
            case frames.Follow():
                await database_sync_to_async(self._check_follow)(frame.generation)
                self._follow(frame.generation, frame.after)
            case frames.Stop():
                user = await database_sync_to_async(self._check_follow)(frame.generation)
                await tasks.astop(user, frame.generation)
            case frames.Watch():
                await self._watch(frame)

    # -- what frames do -----------------------------------------------------------------------------

    async def _ask(self, frame: frames.Ask) -> None:
        accepted = await tasks.abegin(self.scope["user"], partial(self._begin, frame))
        await self._send(
            frames.Accepted(
                client_id=frame.client_id,
                conversation=accepted.conversation_id,
                user_message=accepted.user_message_id,
                message=accepted.message_id,
                generation=accepted.generation_id,
                repeat=accepted.is_repeat,
            )
        )
        self._follow(accepted.generation_id, 0, is_about_to_begin=not accepted.is_repeat)

    def _begin(self, frame: frames.Ask) -> StartedGeneration:
        """Store what was asked; runs in one of the writer's transactions."""
        user = self._user()
        if [frame.text, frame.regenerate, frame.resume].count(None) != 2:
            raise RequestRefused("malformed", _("Ask with exactly one of text, regenerate or continue."))
        if frame.regenerate is not None:
            return Conversation.regenerate(
                user, frame.regenerate, client_id=frame.client_id, model_id=frame.model
            )
        if frame.resume is not None:
            return Conversation.resume(user, frame.resume, client_id=frame.client_id)
        is_at_leaf = not isinstance(frame.parent, int | None)
        return Conversation.ask(
            user,
            frame.text or "",
            client_id=frame.client_id,
            conversation_id=frame.conversation,
            parent_id=frame.parent if isinstance(frame.parent, int) else None,
            is_at_leaf=is_at_leaf,
            model_id=frame.model,
            system_prompt=frame.system_prompt,
            temperature=frame.temperature,
        )

    def _user(self) -> AbstractUser:
        """Return the person, if the session this socket was opened with is still in force."""
        user = access.user_of(self._session_key, self._user_id)
        if user is None:
            raise _SignedOut
        return user

    def _check_follow(self, generation_id: int) -> AbstractUser:
        user = self._user()
        if not Generation.objects.of(user).filter(pk=generation_id).exists():
            raise not_found()
        return user

    async def _watch(self, frame: frames.Watch) -> None:
        # A conversation that is gone may come back; its page has to hear of that, too.
        if not self._is_watching:
            self._is_watching = True
            await self.channel_layer.group_add(notifications.group_of(self._user_id), self.channel_name)
        await database_sync_to_async(self._check_watch)(frame)

    def _check_watch(self, frame: frames.Watch) -> None:
        user = self._user()
        if frame.conversation is not None:
            Conversation.get_for(user, frame.conversation)

    async def changed(self, notice: dict[str, Any]) -> None:
        """Pass a notice from the channel layer on."""
        await self._send(
            frames.Changed(
                conversation=notice["conversation"],
                what=notice["what"],
                generation=notice["generation"],
            )
        )

    # -- following ----------------------------------------------------------------------------------

    def _follow(self, generation_id: int, after: int, *, is_about_to_begin: bool = False) -> None:
        """Send a generation's events above `after`; asking again begins again from there."""
        before = self._follows.pop(generation_id, None)
        if before is not None:
            before.task.cancel()
            self._window.forget(before.unacknowledged)
        if len(self._follows) >= FOLLOWS_PER_SOCKET:
            raise RequestRefused(
                "too_many_follows", _("This page follows too many answers at once. Reload it.")
            )
        unacknowledged: deque[tuple[int, int]] = deque()
        task = asyncio.create_task(
            self._relay(
                delta_log.follow(generation_id, after=max(after, 0), is_about_to_begin=is_about_to_begin),
                generation_id,
                unacknowledged,
            ),
            name=f"follow {generation_id}",
        )
        self._follows[generation_id] = _Follow(task, unacknowledged)
        task.add_done_callback(partial(self._unfollowed, generation_id))

    async def _relay(
        self,
        log: AsyncIterator[list[delta_log.Row]],
        generation_id: int,
        unacknowledged: deque[tuple[int, int]],
    ) -> None:
        async for rows in log:
            for row in rows:
                await self._window.has_room()
                text = f'{{"generation":{generation_id},"seq":{row.seq},{row.payload[1:].decode()}'
                unacknowledged.append((row.seq, len(text)))
                self._window.take(len(text))
                await self.base_send({"type": "websocket.send", "text": text})
            if len(rows) > 1:
                # Sending does not suspend; a long replay must not hold everybody else up.
                await asyncio.sleep(0)

    def _unfollowed(self, generation_id: int, task: asyncio.Task[None]) -> None:
        follow = self._follows.get(generation_id)
        if follow is not None and follow.task is task:
            del self._follows[generation_id]
            self._window.forget(follow.unacknowledged)
        if not task.cancelled() and task.exception() is not None:
            logger.error("following generation %d failed", generation_id, exc_info=task.exception())

    def _acknowledge(self, frame: frames.Ack) -> None:
        follow = self._follows.get(frame.generation)
        if follow is not None:
            drawn: deque[tuple[int, int]] = deque()
            while follow.unacknowledged and follow.unacknowledged[0][0] <= frame.seq:
                drawn.append(follow.unacknowledged.popleft())
            self._window.forget(drawn)

    # -- sending ------------------------------------------------------------------------------------

    async def _send(self, frame: frames.ServerFrame) -> None:
        await self.base_send({"type": "websocket.send", "text": frames.encode(frame).decode()})

    async def _refuse(
        self, refused: RequestRefused, frame: frames.ClientFrame | None, text: str | None
    ) -> None:
        client_id = frame.client_id if isinstance(frame, frames.Ask) else None
        if frame is None and text is not None:
            client_id = frames.client_id_of(text)
        await self._send(
            frames.Refusal(
                code=refused.code,
                message=refused.message,
                client_id=client_id,
                generation=frame.generation if isinstance(frame, frames.Follow | frames.Stop) else None,
                retry_after_s=refused.retry_after_s,
            )
        )


class _SignedOut(Exception):
    """The session behind a socket has ended."""


class _Follow:
    """A running relay and what it sent that the page has not acknowledged: (seq, bytes)."""

    def __init__(self, task: asyncio.Task[None], unacknowledged: deque[tuple[int, int]]) -> None:
        self.task = task
        self.unacknowledged = unacknowledged


class _Window:
    """How much a page may be behind: Daphne itself would buffer for a slow reader without bound."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._room = asyncio.Event()

    async def has_room(self) -> None:
        while self._taken_bytes > self._limit_bytes:
            self._room.clear()
            await self._room.wait()

    def take(self, size_bytes: int) -> None:
        self._taken_bytes += size_bytes

    def forget(self, sent: deque[tuple[int, int]]) -> None:
        self._taken_bytes -= sum(size_bytes for _seq, size_bytes in sent)
        sent.clear()
        self._room.set()


def _parse(text: str | None) -> frames.ClientFrame:
    if text is None:
        raise RequestRefused("binary", _("Frames are text, not binary."))
    # Four bytes at most each: only a long text needs to be measured exactly.
    if len(text) * 4 > settings.FRAME_MAX_BYTES and len(text.encode()) > settings.FRAME_MAX_BYTES:
        raise RequestRefused(
            "frame_too_large",
            _("A frame may have %(limit)s bytes. Send the text in parts.")
            % {"limit": settings.FRAME_MAX_BYTES},
        )
    return frames.decode(text)
