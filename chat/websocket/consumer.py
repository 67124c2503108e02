"""The websocket consumer: frames in, events out. It holds no model stream; a lost socket loses nothing.

A handler parses, checks access and calls one verb. It never waits for a model: each followed generation is
relayed by a task of its own, straight from the event log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from channels.consumer import get_handler_name
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.http import parse_cookie
from django.utils.translation import gettext as _

from chat.background import BackgroundTasks
from chat.batches.later import ask_later
from chat.errors import RequestRefused
from chat.event_log.lease import LogRow
from chat.generation.start import start, stop
from chat.models.comparison import Comparison
from chat.models.conversation import Conversation
from chat.models.generation import Generation, StartedGeneration
from chat.models.limits import not_found
from chat.models.session import SignedInUser, session_pair
from chat.notifications import Notice
from chat.runtime.connections import OpenSocket
from chat.runtime.process import current_runtime
from chat.transcript.messages import read_article
from chat.websocket import frames
from chat.websocket.flow_control import FollowedGeneration, SendWindow

logger = logging.getLogger(__name__)

# Our own close codes: 4000-4999 are for applications.
SIGNED_OUT = 4401
OTHER_USER = 4403
# A page follows the answers that run in its conversation: a few at a time.
FOLLOWS_PER_SOCKET = 64
ABOUT_GENERATION = (frames.FollowFrame, frames.StopFrame)
# A longer article would keep events of other answers waiting behind it.
ARTICLE_MAX_CHARS = 200_000
# Notices for a page that does not read; it reads again what it missed when it reconnects.
NOTICES_MAX = 100


class ChatConsumer(AsyncWebsocketConsumer):
    """One page of one signed-in user."""

    # Notices come from `Notifications`, once for the whole process. A socket that subscribed to the channel
    # layer itself could not open while Redis is away.
    channel_layer_alias = "unused"

    def __init__(self) -> None:
        super().__init__()
        self._runtime = current_runtime()
        self._relays = BackgroundTasks()
        self._followed: dict[int, tuple[FollowedGeneration, asyncio.Task[None]]] = {}
        self._window = SendWindow(settings.ACK_WINDOW_BYTES)
        self._notices: asyncio.Queue[Notice] | None = None
        self._open_socket: OpenSocket | None = None

    async def __call__(self, *scope_receive_send: Any) -> None:
        """Serve the socket until it closes, or until the server cancels this because that takes too long."""
        try:
            await super().__call__(*scope_receive_send)
        finally:
            await self._leave()

    async def connect(self) -> None:
        await self.accept()
        found = await database_sync_to_async(session_pair)(_session_key_of(self.scope))
        if found is None:
            # Accepted first: a refused handshake would not tell the page why.
            await self.close(SIGNED_OUT)
            return
        session_key, self._user_id = found
        self._signed_in = SignedInUser(session_key, self._user_id)
        if self._is_page_of_another():
            await self.close(OTHER_USER)
            return
        self._open_socket = OpenSocket(self._user_id, session_key, self._session_ended)
        self._runtime.connections.sockets.add(self._open_socket)

    def _is_page_of_another(self) -> bool:
        """Whether the page was made for another user: its messages must not be sent as this one."""
        named = parse_qs(self.scope["query_string"].decode(errors="replace")).get("user")
        return named is not None and named != [str(self._user_id)]

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        raise StopConsumer

    async def _leave(self) -> None:
        if self._open_socket is not None:
            self._runtime.connections.sockets.discard(self._open_socket)
        if self._notices is not None:
            self._runtime.notifications.unsubscribe(self._user_id, self._on_notice)
        await self._relays.close()

    async def _session_ended(self) -> None:
        """Send nothing more, and close. The client may have stopped reading."""
        self._open_socket = None
        await self._relays.close()
        await self.close(SIGNED_OUT)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Handle one message as Channels does, but without its thread hop to tidy connections.

        The hop costs more than most frames, and all code here that uses the database tidies up itself.
        """
        await getattr(self, get_handler_name(message))(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Handle one frame. Whatever is wrong with it, the socket stays open."""
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
            message = _("An internal error occurred. Try again.")
            await self._refuse(RequestRefused("internal", message), frame, text_data)

    async def _handle(self, frame: frames.ClientFrame) -> None:
        match frame:
            case frames.AckFrame():
                if followed := self._followed.get(frame.generation):
                    followed[0].acknowledge(frame.seq)
            case frames.PingFrame():
                await self._send(frames.PongFrame())
            case frames.AskFrame():
                await self._ask(frame)
            case frames.FollowFrame():
                await database_sync_to_async(self._check_generation)(frame.generation)
                self._follow(frame.generation, frame.after)
            case frames.StopFrame():
                user = await database_sync_to_async(self._check_generation)(frame.generation)
                await stop(self._runtime.runner, user, frame.generation)
            case frames.WatchFrame():
                await self._watch(frame)
            case frames.ReadFrame():
                html = await database_sync_to_async(self._article)(frame.message)
                await self._send(frames.ArticleFrame(message=frame.message, html=html))

    # -- frames -------------------------------------------------------------------------------------

    async def _ask(self, frame: frames.AskFrame) -> None:
        # Checked here: the writer's transaction is for what must be stored.
        user = await database_sync_to_async(self._user)()
        asking = ask_later if frame.later else start
        started = await asking(self._runtime.runner, user, _operation(user, frame))
        await self._send(
            frames.AcceptedFrame(
                client_id=frame.client_id,
                conversation=started.conversation_id,
                parent=started.parent_id,
                user_message=started.user_message_id,
                message=started.message_id,
                generation=started.generation_id,
                repeat=started.is_repeat,
                later=frame.later,
                warning=started.warning,
            )
        )
        # A later answer announces its end by a notice. Others beyond the limit are followed when needed.
        if not frame.later and len(self._followed) < FOLLOWS_PER_SOCKET:
            self._follow(started.generation_id, 0, is_about_to_start=not started.is_repeat)

    def _user(self) -> AbstractUser:
        """Return the user, if the session that this socket was opened with is still valid."""
        user = self._signed_in.read()
        if user is None:
            raise _SignedOut
        return user

    def _check_generation(self, generation_id: int) -> AbstractUser:
        user = self._user()
        if not Generation.objects.of(user).filter(pk=generation_id).exists():
            raise not_found()
        return user

    def _article(self, message_id: int) -> str | None:
        html = read_article(self._user(), message_id)
        return html if len(html) <= ARTICLE_MAX_CHARS else None

    async def _watch(self, frame: frames.WatchFrame) -> None:
        # Even if the conversation is deleted: it may be restored, and its page must learn of that, too.
        if self._notices is None:
            self._notices = asyncio.Queue(NOTICES_MAX)
            self._runtime.notifications.subscribe(self._user_id, self._on_notice)
            self._relays.start(self._send_notices(self._notices), "send notices")
        await database_sync_to_async(self._check_conversation)(frame)

    def _check_conversation(self, frame: frames.WatchFrame) -> None:
        user = self._user()
        if frame.conversation is not None:
            Conversation.get_for(user, frame.conversation)

    # -- notices ------------------------------------------------------------------------------------

    def _on_notice(self, notice: Notice) -> None:
        if self._notices is not None and not self._notices.full():
            self._notices.put_nowait(notice)

    async def _send_notices(self, notices: asyncio.Queue[Notice]) -> None:
        while True:
            notice = await notices.get()
            await self._send(
                frames.ChangedFrame(
                    conversation=notice.conversation,
                    what=notice.what,
                    generation=notice.generation,
                    batch=notice.batch,
                )
            )

    # -- following ----------------------------------------------------------------------------------

    def _follow(self, generation_id: int, after: int, *, is_about_to_start: bool = False) -> None:
        """Send a generation's events above `after`. A second call starts again from there."""
        if previous := self._followed.pop(generation_id, None):
            previous[0].forget()
            previous[1].cancel()
        if len(self._followed) >= FOLLOWS_PER_SOCKET:
            message = _("This page is following too many answers at once. Reload it.")
            raise RequestRefused("too_many_follows", message)
        rows = self._runtime.log.follow(
            generation_id, after=max(after, 0), is_about_to_start=is_about_to_start
        )
        followed = FollowedGeneration(self._window)
        task = self._relays.start(self._relay(rows, generation_id, followed), f"follow {generation_id}")
        if task is not None:
            self._followed[generation_id] = (followed, task)
            task.add_done_callback(partial(self._unfollowed, generation_id))

    async def _relay(
        self, log: AsyncIterator[list[LogRow]], generation_id: int, followed: FollowedGeneration
    ) -> None:
        while True:
            # Before more rows are read: a page that does not draw must not hold them in memory here.
            await followed.wait_for_room()
            rows = await anext(log, None)
            if rows is None:
                return
            for row in rows:
                await followed.wait_for_room()
                text = f'{{"generation":{generation_id},"seq":{row.seq},{row.payload[1:].decode()}'
                followed.sent(row.seq, len(text))
                await self.base_send({"type": "websocket.send", "text": text})
            if len(rows) > 1:
                # Sending does not suspend; a long replay must not keep the loop from everything else.
                await asyncio.sleep(0)

    def _unfollowed(self, generation_id: int, task: asyncio.Task[None]) -> None:
        followed = self._followed.get(generation_id)
        if followed is not None and followed[1] is task:
            del self._followed[generation_id]
            followed[0].forget()

    # -- sending ------------------------------------------------------------------------------------

    async def _send(self, frame: frames.ServerFrame) -> None:
        await self.base_send({"type": "websocket.send", "text": frames.encode(frame).decode()})

    async def _refuse(
        self, refused: RequestRefused, frame: frames.ClientFrame | None, text: str | None
    ) -> None:
        client_id = frame.client_id if isinstance(frame, frames.AskFrame) else None
        if frame is None and text is not None:
            client_id = frames.client_id_of(text)
        await self._send(
            frames.RefusedFrame(
                code=refused.code,
                message=refused.message,
                client_id=client_id,
                generation=frame.generation if isinstance(frame, ABOUT_GENERATION) else None,
                retry_after_s=refused.retry_after_s,
            )
        )


class _SignedOut(Exception):
    """The session that the socket was opened with has ended."""


def _session_key_of(scope: dict[str, Any]) -> str:
    """Return what the cookie of the session says; nothing without one."""
    headers = dict(scope["headers"])
    return parse_cookie(headers.get(b"cookie", b"").decode("latin-1")).get(settings.SESSION_COOKIE_NAME, "")


def _operation(user: AbstractUser, frame: frames.AskFrame) -> partial[StartedGeneration]:
    """Return the verb that stores what an `ask` frame asks for. Raises RequestRefused."""
    if [frame.text, frame.regenerate, frame.resume].count(None) != 2:
        raise RequestRefused(
            "malformed", _("An “ask” frame must have exactly one of “text”, “regenerate” and “continue”.")
        )
    if frame.later and (frame.text is None or frame.compare):
        raise RequestRefused("malformed", _("In an “ask” frame, “later” needs “text”, and one model."))
    if frame.regenerate is not None:
        return partial(
            Conversation.regenerate, user, frame.regenerate, client_id=frame.client_id, model_id=frame.model
        )
    if frame.resume is not None:
        return partial(Conversation.resume, user, frame.resume, client_id=frame.client_id)
    ask = partial(Conversation.ask, model_id=frame.model)
    if frame.compare:
        ask = partial(Comparison.ask, model_ids=[frame.model, *frame.compare])
    return partial(
        ask,
        user,
        frame.text or "",
        client_id=frame.client_id,
        conversation_id=frame.conversation,
        parent_id=frame.parent if isinstance(frame.parent, int) else None,
        is_at_leaf=not isinstance(frame.parent, int | None),
        system_prompt=frame.system_prompt,
        project_id=frame.project,
        is_temporary=frame.temporary,
        temperature=frame.temperature,
        attachments=frame.attachments,
    )


def _parse(text: str | None) -> frames.ClientFrame:
    if text is None:
        raise RequestRefused("binary", _("Frames must be text, not binary."))
    # A character has at most four bytes, so only a long text has to be measured exactly.
    if len(text) * 4 > settings.FRAME_MAX_BYTES and len(text.encode()) > settings.FRAME_MAX_BYTES:
        raise RequestRefused(
            "frame_too_large",
            _("A frame may have at most %(limit)s bytes. Send the text in parts.")
            % {"limit": settings.FRAME_MAX_BYTES},
        )
    return frames.decode(text)
