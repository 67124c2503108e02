"""Daphne's server with four changes, for faults of the stock server that were seen in 4.2.3:

- An exception in a response that had started left its client hanging and stopped the reaper for good. Here
  each ended application is checked by itself, at once, and a response that cannot be finished is aborted.
- Everything sent to a client that does not read was kept in memory. Here `send` waits.
- A request of any size was accepted, and a form was parsed on the event loop. See `http_channel`.
- SIGTERM cancelled every application and cut every socket. Here the server drains, see `Server._drain`.

This package knows the network and nothing of the application: life cycle hooks are arguments. It uses
private names of Daphne and Twisted, which tests/runtime/test_daphne.py lists and checks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from types import FrameType
from typing import Any

import daphne.server  # installs the asyncio reactor; must come before any other part of Twisted
from autobahn.exception import Disconnected
from daphne.http_protocol import WebRequest
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import reactor
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    STDLibLogObserver,
    globalLogBeginner,
)
from twisted.web import http

from chat.runtime.asgi_server.backpressure import ReadGate, WriteGate, write_eagerly
from chat.runtime.asgi_server.http_channel import HttpFactory
from chat.runtime.asgi_server.reaper import Connection, Reaper, abort, channel_of
from chat.runtime.asgi_server.request_body import LargeBody
from chat.runtime.asgi_server.request_limits import RequestLimits

logger = logging.getLogger(__name__)

# Twisted knows the phrases of 1999 only; others would be sent as “Unknown Status”.
http.RESPONSES.update({status.value: status.phrase.encode() for status in HTTPStatus})

type Hook = Callable[[], Awaitable[None]]

# RFC 6455's registry: service restart. Clients connect again, perhaps to another server.
SERVICE_RESTART = 1012
# Autobahn drops a socket whose client does not answer a close frame within one second.
CLOSE_S = 2.0
# The `drain` hook has its own bound; this much later it is abandoned.
DRAIN_GRACE_S = 5.0
# A cancelled application that takes longer is abandoned.
CANCEL_S = 3.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StartupFailed(Exception):
    """The `startup` hook raised; the server stopped before it accepted a connection."""


async def do_nothing() -> None:
    """Do nothing: the default hook."""


class Server(daphne.server.Server):
    """Serves `application` on a listening socket until a signal arrives and everything is drained.

    The hooks run in this order: `startup` on the event loop, before any connection is accepted; `ready`;
    after SIGTERM or SIGINT `draining`, then `drain`, in which running work may finish within `drain_s`; and
    `shutdown`, when no application is left. `shutdown` also runs after a `startup` that failed.
    """

    def __init__(
        self,
        application: Callable[..., Awaitable[None]],
        listening: socket.socket,
        *,
        startup: Hook = do_nothing,
        ready: Callable[[], None] = lambda: None,
        draining: Callable[[], None] = lambda: None,
        drain: Hook = do_nothing,
        shutdown: Hook = do_nothing,
        drain_s: float = 10.0,
        frame_max_bytes: int = 1024 * 1024,
        limits: RequestLimits | None = None,
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
        self.limits = limits or RequestLimits()
        self.is_draining = False
        self.connections: dict[Connection, dict[str, Any]] = {}
        self.port: Any = None
        self._reaper = Reaper(self)
        self._gates: dict[Connection, WriteGate] = {}
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    # -- life cycle -------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the server has stopped. Raises StartupFailed."""
        _limit_twisted_logging()
        self.http_factory = HttpFactory(self, self.limits)
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
        reactor.callWhenRunning(self._on_running)
        reactor.run(installSignalHandlers=False)
        if self._failure is not None:
            raise StartupFailed(str(self._failure) or type(self._failure).__name__) from self._failure

    def _on_running(self) -> None:
        for number in SIGNALS:
            self.loop.add_signal_handler(number, self.stop)
        self._task = self.loop.create_task(self._start(), name="server start")

    async def _start(self) -> None:
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
        except BaseException as error:  # noqa: BLE001 (raised again by `run`, after the shutdown)
            if not self.is_draining:
                self._failure = error
            await self._finish()

    def stop(self) -> None:
        """Drain and stop. A second signal stops the process at once."""
        if self.is_draining:
            return
        self.is_draining = True
        for number in SIGNALS:
            self.loop.remove_signal_handler(number)
            signal.signal(number, _exit_at_once)
        if self.port is not None:
            self._task = self.loop.create_task(self._drain(), name="server drain")
        elif self._task is not None:
            self._task.cancel()  # still starting

    async def _drain(self) -> None:
        """Stop listening, close websockets, let work and requests finish, cancel the rest, stop."""
        until = self.loop.time() + self.drain_s
        try:
            stopped = self.port.stopListening()
            for connection in list(self.connections):
                self._dismiss(connection)
            await stopped.asFuture(self.loop)
            self.draining()
            async with asyncio.timeout(self.drain_s + DRAIN_GRACE_S):
                await self.drain()
        except Exception:
            logger.exception("The drain failed; a later process recovers the running work.")
        await _wait_for(self._applications(), max(until - self.loop.time(), CLOSE_S))
        await self._finish()

    async def _finish(self) -> None:
        """Cancel all applications, run the `shutdown` hook, stop the reactor."""
        applications = self._applications()
        for application in applications:
            application.cancel()
        await _wait_for(applications, CANCEL_S)
        try:
            await self.shutdown()
        except Exception:
            logger.exception("The shutdown failed.")
        await self._flush()
        reactor.stop()

    async def _flush(self) -> None:
        """Wait up to a second until everything sent has left."""
        for _ in range(20):
            if not reactor.getWriters():
                return
            await asyncio.sleep(0.05)

    def _applications(self) -> list[asyncio.Future[None]]:
        running = (details.get("application_instance") for details in self.connections.values())
        return [application for application in running if application is not None and not application.done()]

    def _dismiss(self, connection: Connection) -> None:
        """Close a websocket with a request to reconnect, an HTTP connection after its response."""
        if isinstance(connection, WebSocketProtocol):
            if connection.state == connection.STATE_OPEN:
                # `sendClose` would refuse this code.
                connection.sendCloseFrame(code=SERVICE_RESTART, reasonUtf8=b"restarting")
        elif channel := channel_of(connection):
            channel.persistent = False

    # -- connections ------------------------------------------------------------------------------

    def create_application(self, protocol: Connection, scope: dict[str, Any]) -> Any:
        queue = super().create_application(protocol, scope)
        application = self.connections.get(protocol, {}).get("application_instance")
        if application is not None:
            application.add_done_callback(lambda _: self._reaper.check(protocol))
        if isinstance(protocol, WebRequest) and queue is not None:
            return LargeBody.take(protocol, queue) or queue
        if isinstance(protocol, WebSocketProtocol) and queue is not None:
            return ReadGate(protocol.transport, queue, self.loop)
        return queue

    async def handle_reply(self, protocol: Connection, message: dict[str, Any]) -> None:
        """Send a message, then wait while the client has not read what was sent before."""
        kind = message.get("type")
        if self.is_draining and kind == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            self._dismiss(protocol)
        try:
            await super().handle_reply(protocol, message)
        except Disconnected:
            return  # the application receives the disconnect by itself
        if kind == "websocket.accept":
            self._open_gate(protocol)
            if self.is_draining:
                self._dismiss(protocol)
        elif kind == "http.response.start":
            self._open_gate(protocol)
        elif gate := self._gates.get(protocol):
            try:
                await gate.wait()
            except TimeoutError:
                abort(protocol)

    def _open_gate(self, connection: Connection) -> None:
        if self.connections.get(connection, {"disconnected": True}).get("disconnected"):
            return
        if isinstance(connection, WebSocketProtocol):
            # The HTTP channel that was upgraded is still registered as the producer, and never pauses.
            connection.transport.unregisterProducer()
            self._gates[connection] = WriteGate(connection.transport)
            write_eagerly(connection.transport)
        elif channel := channel_of(connection):
            self._gates[connection] = WriteGate(channel)

    def protocol_disconnected(self, protocol: Connection) -> None:
        """Note the end of a connection. It may have been reaped before."""
        if gate := self._gates.pop(protocol, None):
            gate.remove()
        if protocol in self.connections:
            super().protocol_disconnected(protocol)
            self._reaper.check(protocol)

    def application_checker(self) -> None:
        """Check every connection, once a second."""
        self._reaper.check_all()
        reactor.callLater(1, self.application_checker)

    def timeout_checker(self) -> None:
        """Check every connection's timeouts, every two seconds."""
        self._reaper.check_timeouts()
        reactor.callLater(2, self.timeout_checker)


async def _wait_for(futures: list[asyncio.Future[None]], timeout_s: float) -> None:
    if futures:
        await asyncio.wait(futures, timeout=timeout_s)


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    """Exit without cleaning up: everything acknowledged is committed, and children notice by themselves."""
    os._exit(128 + number)


def _limit_twisted_logging() -> None:
    """Make Twisted log only errors that it could not handle, through Python's logging."""
    errors = LogLevelFilterPredicate(defaultLogLevel=LogLevel.critical)
    observer = FilteringLogObserver(STDLibLogObserver(__name__), [errors])
    with suppress(AssertionError):  # logging has begun already
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
