"""Our Daphne: it survives broken responses, waits for slow readers, and drains before it ends.

What the stock server does, seen in 4.2.3, and what `Server` does instead:

- An exception in a response that had already started left its client hanging and ended the reaper for
  good. Here each ended application is looked at by itself, at once, and what cannot be mended is aborted.
- Everything that was sent to a client that does not read was kept in memory. Here `send` waits.
- SIGTERM cancelled every application and cut every socket. Here the server drains, see `Server._drain`.

This file knows the network and nothing of what is served: life cycle hooks are arguments.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import daphne.server  # installs the asyncio reactor; must come before any other part of Twisted
from autobahn.exception import Disconnected
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)

from chat.runtime.request_body import LargeBody

logger = logging.getLogger(__name__)

type Hook = Callable[[], Awaitable[None]]
type Protocol = Any  # a WebRequest or a WebSocketProtocol; Daphne is untyped

# RFC 6455's registry: the server restarts; come again, perhaps to another one.
SERVICE_RESTART = 1012
# Autobahn drops a socket whose client does not answer a close frame within one second.
CLOSE_S = 2.0
# `drain` bounds itself; this much later the server stops believing that it will.
DRAIN_GRACE_S = 5.0
# A cancelled application that takes longer is left behind.
CANCEL_S = 3.0
# Somebody who has read nothing for this long while we had something to send is gone.
SEND_STALL_S = 120.0


class StartupFailed(Exception):
    """The `startup` hook raised; the server has ended without accepting a connection."""


async def nothing() -> None:
    """Do nothing, as a hook."""


class Valve:
    """A Twisted push producer that is open while its transport takes more bytes."""

    def __init__(self, consumer: Any) -> None:
        """Register with `consumer`, a transport or an HTTP channel."""
        self._consumer = consumer
        self._is_open = asyncio.Event()
        self._is_open.set()
        consumer.registerProducer(self, True)

    def pauseProducing(self) -> None:
        self._is_open.clear()

    def resumeProducing(self) -> None:
        self._is_open.set()
        # A transport that is asked to close waits for its producer to be taken away.
        if getattr(self._consumer, "disconnecting", False):
            self._consumer.unregisterProducer()

    def stopProducing(self) -> None:
        self._is_open.set()

    async def wait(self) -> None:
        if not self._is_open.is_set():
            async with asyncio.timeout(SEND_STALL_S):
                await self._is_open.wait()

    def remove(self) -> None:
        self._is_open.set()
        self._consumer.unregisterProducer()


class Server(daphne.server.Server):
    """Serve `application` on a listening socket until a signal comes and everything is drained.

    In this order: `startup` (on the event loop; nobody is served before it returns), `ready`, then after
    SIGTERM or SIGINT `drain` (running work may go on, for about `drain_s`), and `shutdown` when no
    application is left. `shutdown` is called even if `startup` failed half-way.
    """

    def __init__(
        self,
        application: Callable[..., Awaitable[None]],
        listening: socket.socket,
        *,
        startup: Hook = nothing,
        ready: Callable[[], None] = lambda: None,
        draining: Callable[[], None] = lambda: None,
        drain: Hook = nothing,
        shutdown: Hook = nothing,
        drain_s: float = 10.0,
        frame_max_bytes: int = 1024 * 1024,
        **options: Any,
    ) -> None:
        super().__init__(
            application,
            endpoints=["the listening socket"],
            websocket_max_message_size=frame_max_bytes,
            websocket_max_frame_size=frame_max_bytes,
            **options,
        )
        self.listening = listening
        self.startup, self.ready, self.draining = startup, ready, draining
        self.drain, self.shutdown, self.drain_s = drain, shutdown, drain_s
        self.is_draining = False
        self.connections: dict[Protocol, dict[str, Any]] = {}
        self._valves: dict[Protocol, Valve] = {}
        self.port: Any = None
        self._life: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    # -- life -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the end. Raises StartupFailed."""
        _silence_twisted()
        self.http_factory = HTTPFactory(self)
        self.ws_factory = WebSocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,  # the application checks origins
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )
        self.loop: asyncio.AbstractEventLoop = reactor._asyncioEventloop
        asyncio.set_event_loop(self.loop)
        reactor.callWhenRunning(self._open)
        reactor.run(installSignalHandlers=False)
        if self._failure is not None:
            raise StartupFailed(str(self._failure) or type(self._failure).__name__) from self._failure

    def _open(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self.loop.add_signal_handler(number, self.stop)
        self._life = self.loop.create_task(self._begin(), name="server start")

    async def _begin(self) -> None:
        try:
            await self.startup()
            self.listening.setblocking(False)
            self.port = reactor.adoptStreamPort(
                self.listening.fileno(), self.listening.family, self.http_factory
            )
            self.listening.close()  # the reactor has its own copy
            reactor.callLater(1, self.application_checker)
            reactor.callLater(2, self.timeout_checker)
            self.ready()
        except BaseException as error:  # noqa: BLE001 (raised again by `run`, after a clean end)
            if not self.is_draining:
                self._failure = error
            await self._end()

    def stop(self) -> None:
        """Drain and end. Whoever signals a second time wants no drain."""
        if self.is_draining:
            return
        self.is_draining = True
        for number in (signal.SIGINT, signal.SIGTERM):
            self.loop.remove_signal_handler(number)
            signal.signal(number, _end_at_once)
        if self.port is not None:
            self._life = self.loop.create_task(self._drain(), name="server drain")
        elif self._life is not None:
            self._life.cancel()  # still starting

    async def _drain(self) -> None:
        """Stop listening, send websockets away, let work and requests finish, cancel the rest, end."""
        until = self.loop.time() + self.drain_s
        try:
            stopped = self.port.stopListening()
            for protocol in list(self.connections):
                self._send_away(protocol)
            await stopped.asFuture(self.loop)
            self.draining()
            async with asyncio.timeout(self.drain_s + DRAIN_GRACE_S):
                await self.drain()
        except Exception:
            logger.exception("The drain did not end well; what was running is recovered later.")
        await _wait_for(self._applications(), max(until - self.loop.time(), CLOSE_S))
        await self._end()

    async def _end(self) -> None:
        applications = self._applications()
        for application in applications:
            application.cancel()
        await _wait_for(applications, CANCEL_S)
        try:
            await self.shutdown()
        except Exception:
            logger.exception("The shutdown did not end well.")
        await self._flush()
        reactor.stop()

    async def _flush(self) -> None:
        """Wait, not for long, until what was sent has left."""
        for _ in range(20):
            if not reactor.getWriters():
                return
            await asyncio.sleep(0.05)

    def _applications(self) -> list[asyncio.Future[None]]:
        found = (details.get("application_instance") for details in self.connections.values())
        return [application for application in found if application is not None and not application.done()]

    def _send_away(self, protocol: Protocol) -> None:
        """Close a websocket so that its client comes again; end a request's connection with its response."""
        if isinstance(protocol, WebSocketProtocol):
            if protocol.state == protocol.STATE_OPEN:
                # `sendClose` would refuse the code.
                protocol.sendCloseFrame(code=SERVICE_RESTART, reasonUtf8=b"restarting")
        elif channel := _channel_of(protocol):
            channel.persistent = False

    # -- connections ------------------------------------------------------------------------------

    def create_application(self, protocol: Protocol, scope: dict[str, Any]) -> Any:
        queue = super().create_application(protocol, scope)
        application = self.connections.get(protocol, {}).get("application_instance")
        if application is not None:
            application.add_done_callback(lambda _: self._check_safely(protocol))
        if isinstance(protocol, WebRequest) and queue is not None:
            return LargeBody.take(protocol, queue) or queue
        return queue

    async def handle_reply(self, protocol: Protocol, message: dict[str, Any]) -> None:
        """Pass a message on, and wait while the client has not read what it was sent before."""
        kind = message.get("type")
        if self.is_draining and kind == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            self._send_away(protocol)
        try:
            await super().handle_reply(protocol, message)
        except Disconnected:
            return  # it was sent away, or has left; the application hears of that by itself
        if kind == "websocket.accept":
            self._open_valve(protocol)
            if self.is_draining:
                self._send_away(protocol)
        elif kind == "http.response.start":
            self._open_valve(protocol)
        elif valve := self._valves.get(protocol):
            try:
                await valve.wait()
            except TimeoutError:
                self._abort(protocol)

    def _open_valve(self, protocol: Protocol) -> None:
        if self.connections.get(protocol, {"disconnected": True}).get("disconnected"):
            return
        if isinstance(protocol, WebSocketProtocol):
            # The HTTP channel that the socket was upgraded from is still registered, and pauses nobody.
            protocol.transport.unregisterProducer()
            self._valves[protocol] = Valve(protocol.transport)
            _write_eagerly(protocol.transport)
        elif channel := _channel_of(protocol):
            self._valves[protocol] = Valve(channel)

    def protocol_disconnected(self, protocol: Protocol) -> None:
        """Note the end of a connection, also of one that was reaped before."""
        if valve := self._valves.pop(protocol, None):
            valve.remove()
        if protocol in self.connections:
            super().protocol_disconnected(protocol)
            self._check_safely(protocol)

    # -- the reaper -------------------------------------------------------------------------------

    def application_checker(self) -> None:
        """Look at every connection once a second; one that cannot be dealt with stops nothing."""
        for protocol in list(self.connections):
            self._check_safely(protocol)
        reactor.callLater(1, self.application_checker)

    def timeout_checker(self) -> None:
        """Send pings and end what timed out, every two seconds."""
        for protocol in list(self.connections):
            try:
                protocol.check_timeouts()
            except Exception:
                logger.exception("A connection could not be checked for its time-outs.")
                self._abort(protocol)
        reactor.callLater(2, self.timeout_checker)

    def _check_safely(self, protocol: Protocol) -> None:
        try:
            self._check(protocol)
        except Exception:
            logger.exception("A connection could not be checked and is aborted.")
            self.connections.pop(protocol, None)
            self._abort(protocol)

    def _check(self, protocol: Protocol) -> None:
        """Kill an application that outlives its connection, mend what an ended one left, reap."""
        details = self.connections.get(protocol)
        if details is None:
            return
        application = details.get("application_instance")
        disconnected = details.get("disconnected")
        if application is not None and application.done():
            del details["application_instance"]
            self._mend(protocol, application, is_gone=disconnected is not None)
            application = None
            disconnected = details.get("disconnected")
        if application is None:
            if disconnected is not None:
                self.connections.pop(protocol, None)
        elif disconnected is not None and daphne.server.time.time() - disconnected > (
            self.application_close_timeout
        ):
            logger.warning("An application outlived its connection by %g s.", self.application_close_timeout)
            application.cancel()

    def _mend(self, protocol: Protocol, application: asyncio.Future[None], *, is_gone: bool) -> None:
        """Answer for an application that ended without finishing what it began."""
        error = None if application.cancelled() else application.exception()
        if error is not None:
            logger.error("Exception inside application: %s", error, exc_info=error)
        if is_gone:
            return
        if isinstance(protocol, WebRequest):
            if protocol._response_started:
                self._abort(protocol)
            elif self.is_draining:
                protocol.basic_error(503, b"Service Unavailable", "The server is restarting.")
            else:
                protocol.handle_exception(error)
        elif error is not None:
            protocol.handle_exception(error)

    def _abort(self, protocol: Protocol) -> None:
        owner = _channel_of(protocol) if isinstance(protocol, WebRequest) else protocol
        transport = getattr(owner, "transport", None)
        if transport is not None:
            transport.abortConnection()


def _write_eagerly(transport: Any) -> None:
    """Hand a socket's data to the kernel at once, where it takes it.

    Twisted writes in the next turn of the loop, and has epoll look out for that turn alone: for small frames,
    these cost more than all that we do to them.
    """
    write_later = transport.write

    def write(data: bytes) -> None:
        is_idle = not (transport.disconnecting or transport._tempDataBuffer or transport.dataBuffer)
        if transport.connected and is_idle:
            sent = transport.writeSomeData(data)
            # An exception, returned: the connection is lost, which the ordinary way finds out, too.
            data = data[sent:] if isinstance(sent, int) else data
        if data:
            write_later(data)

    transport.write = write


def _channel_of(request: WebRequest) -> Any:
    """Return a request's connection, None once it is answered: Twisted deletes the attribute."""
    return getattr(request, "channel", None)


async def _wait_for(futures: list[asyncio.Future[None]], timeout_s: float) -> None:
    if futures:
        await asyncio.wait(futures, timeout=timeout_s)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """End without a word: everything that was acknowledged is committed, and children see our end."""
    os._exit(128 + number)


def _silence_twisted() -> None:
    """Let Twisted speak only of what it could not handle at all, through our logging."""
    errors = LogLevelFilterPredicate(defaultLogLevel=LogLevel.critical)
    observer = FilteringLogObserver(STDLibLogObserver(__name__), [errors])
    with suppress(AssertionError):  # begun already
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
