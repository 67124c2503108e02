"""A page's websocket, spoken to directly."""

import asyncio
import contextlib
import json
from uuid import uuid4

from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client

from chatsite.asgi import application


class Socket:
    """A page's socket: sends frames, and collects what comes until it has what it waits for."""

    def __init__(self, communicator):
        self._communicator = communicator
        self.frames = []

    async def send(self, type_, **fields):
        await self._communicator.send_to(text_data=json.dumps({"type": type_, **fields}))

    async def send_raw(self, text=None, data=None):
        await self._communicator.send_to(text_data=text, bytes_data=data)

    async def next(self):
        frame = json.loads(await self._communicator.receive_from(timeout=20))
        self.frames.append(frame)
        return frame

    async def until(self, **wanted):
        """Return the next frame that has all of these fields."""
        while True:
            frame = await self.next()
            if wanted.items() <= frame.items():
                return frame

    async def ask(self, text, **fields):
        await self.send("ask", client_id=fields.pop("client_id", uuid4().hex), text=text, **fields)
        return await self.until(type="accepted")

    async def answer(self, text, **fields):
        """Ask and return the whole text, as a page would draw it."""
        accepted = await self.ask(text, **fields)
        return await self.follow_to_end(accepted["generation"])

    async def follow_to_end(self, generation, after=0):
        text, last = "", after
        while True:
            frame = await self.until(generation=generation)
            if frame["type"] == "changed":
                continue
            if frame["type"] == "snapshot":
                return frame["text"]
            assert frame["seq"] == last + 1
            last = frame["seq"]
            if frame["type"] == "delta":
                text += frame["text"]
            if frame["type"] in {"completed", "stopped", "failed", "interrupted"}:
                return text

    @property
    def has_more(self):
        return not self._communicator.output_queue.empty()

    async def given_up(self):
        """Cancel the application, as the server does if it outlives its connection."""
        self._communicator.future.cancel()
        await asyncio.wait({self._communicator.future})

    async def closed_with(self):
        while True:
            message = await self._communicator.receive_output(timeout=20)
            if message["type"] == "websocket.close":
                return message["code"]


async def page_of(user, path="/ws/"):
    client = Client()
    await sync_to_async(client.force_login)(user)
    headers = [
        (b"origin", b"http://localhost:8000"),
        (b"host", b"localhost:8000"),
        (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()),
    ]
    return WebsocketCommunicator(application, path, headers=headers)


@contextlib.asynccontextmanager
async def socket_of(user):
    communicator = await page_of(user)
    assert (await communicator.connect(timeout=20))[0]
    try:
        yield Socket(communicator)
    finally:
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            await communicator.disconnect(timeout=20)
