"""The reaper: ends what connections and their applications leave behind."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Protocol

from daphne.http_protocol import WebRequest

logger = logging.getLogger(__name__)

type Connection = Any  # a WebRequest or a WebSocketProtocol; Daphne is untyped


class ReapedServer(Protocol):
    """What the reaper needs of its server.

    `connections`: the details of each connection that Daphne keeps: `application_instance`, a future, and
    `disconnected`, when its client left.
    """

    connections: dict[Connection, dict[str, Any]]
    application_close_timeout: float
    is_draining: bool


class Reaper:
    """Checks connections one by one, so that one that cannot be checked does not stop the others."""

    def __init__(self, server: ReapedServer) -> None:
        self._server = server

    def check_all(self) -> None:
        for connection in list(self._server.connections):
            self.check(connection)

    def check(self, connection: Connection) -> None:
        """Check a connection; abort it if that fails."""
        try:
            self._check(connection)
        except Exception:
            logger.exception("A connection could not be checked and is aborted.")
            self._server.connections.pop(connection, None)
            abort(connection)

    def check_timeouts(self) -> None:
        """Send pings, and end connections that timed out."""
        for connection in list(self._server.connections):
            try:
                connection.check_timeouts()
            except Exception:
                logger.exception("The timeouts of a connection could not be checked.")
                abort(connection)

    def _check(self, connection: Connection) -> None:
        """Finish the response of an ended application; cancel one that outlives its connection."""
        details = self._server.connections.get(connection)
        if details is None:
            return
        application = details.get("application_instance")
        if application is not None and application.done():
            del details["application_instance"]
            self._finish_response(connection, application, is_gone="disconnected" in details)
            application = None
        disconnected = details.get("disconnected")
        if disconnected is None:
            return
        if application is None:
            self._server.connections.pop(connection, None)
        elif time.time() - disconnected > self._server.application_close_timeout:
            logger.warning(
                "An application outlived its connection by %g s.", self._server.application_close_timeout
            )
            application.cancel()

    def _finish_response(
        self, connection: Connection, application: asyncio.Future[None], *, is_gone: bool
    ) -> None:
        """Log the error of an ended application, and end a response that it did not finish."""
        error = None if application.cancelled() else application.exception()
        if error is not None:
            logger.error("Exception inside application: %s", error, exc_info=error)
        if is_gone:
            return
        if isinstance(connection, WebRequest):
            if connection._response_started:
                abort(connection)
            elif self._server.is_draining:
                connection.basic_error(503, b"Service Unavailable", "The server is restarting.")
            else:
                connection.handle_exception(error)
        elif error is not None:
            connection.handle_exception(error)


def channel_of(request: WebRequest) -> Any:
    """Return the HTTP channel of a request, None after the response: Twisted deletes the attribute."""
    return getattr(request, "channel", None)


def abort(connection: Connection) -> None:
    """Reset the connection: its client must not take a part of a response for the whole."""
    owner = channel_of(connection) if isinstance(connection, WebRequest) else connection
    transport = getattr(owner, "transport", None)
    if transport is not None:
        transport.abortConnection()
