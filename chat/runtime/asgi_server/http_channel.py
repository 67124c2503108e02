"""HTTP connections that refuse what is too large, too slow or ambiguous, before it costs anything.

Twisted accepts a body of any size, waits for it as long as single bytes arrive, and parses forms on the event
loop: one form of 100 MB took 1.3 GB of memory and stopped every connection for two seconds. Here a limit is
checked as soon as it can be known, a refused request gets a response with a reason, and nothing but the head
of a request is parsed.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel

from chat.runtime.asgi_server.request_limits import HEAD_MAX_BYTES, HEADERS_MAX, RequestLimits

logger = logging.getLogger(__name__)

# Digits of the longest Content-Length that is converted to a number.
LENGTH_MAX_DIGITS = 15
# Pieces of a pipelined request that are kept separately.
PIECES_MAX = 64

AMBIGUOUS = "Its length is ambiguous, so it was not read."


class Request(WebRequest):
    """A request whose query, cookies and body are left to the application."""

    def parseCookies(self) -> None:
        """Do nothing."""

    def handleContentChunk(self, data: bytes) -> None:
        """Store a piece of the body, unless it exceeds a limit."""
        channel = self.channel
        if not channel.count_body(len(data)):
            return
        try:
            self.content.write(data)
        except OSError as error:
            logger.error("A request body could not be written to a temporary file: %s", error)
            channel.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "The server has no room for it. Try again later.")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Start the application. Twisted's method would parse the query and the body first."""
        self.content.seek(0)
        self.args: dict[bytes, list[bytes]] = {}
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.process()


class HttpChannel(HTTPChannel):
    """One connection. Its factory has the limits."""

    maxHeaders = HEADERS_MAX
    totalHeadersSize = HEAD_MAX_BYTES
    factory: HttpFactory
    _dataBuffer: list[bytes]

    def __init__(self) -> None:
        super().__init__()
        self._is_refused = False
        # From the first byte of a request to the end of its headers.
        self._is_reading_head = False
        self._body_bytes = 0
        self._body_max_bytes = 0
        self._body_began_s = 0.0

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        """Send a response, and discard what the client still sends, for a while."""
        if self._is_refused:
            return
        self._is_refused = True
        logger.info("Refused a request with %d: %s", status, reason)
        self.transport.write(self._refusal(status, reason))
        self._networkProducer.unregisterProducer()
        self._networkProducer.resumeProducing()
        # Closing now would reset the connection, and the client would not see the response.
        self.transport.loseWriteConnection()
        self.setTimeout(self.factory.limits.linger_s)
        self._release_body()
        for request in self.requests:
            if request.content is not None:
                request.content.close()

    def _refusal(self, status: HTTPStatus, reason: str) -> bytes:
        path = getattr(self, "_path", b"").partition(b"?")[0].decode("ascii", "replace")
        headers, text = self.factory.limits.refusal(path, status, reason)
        body = text.encode()
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Content-Security-Policy: default-src 'none'; style-src 'self'; img-src 'self'",
            "X-Frame-Options: DENY",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        return head if getattr(self, "_command", b"") == b"HEAD" else head + body

    # -- time -------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self.line_mode and not self._is_reading_head:
            self._is_reading_head = True
            self.setTimeout(self.factory.limits.head_s)
        super().dataReceived(data)

    def resetTimeout(self) -> None:
        """Give a body more time for each piece. The deadline of a head stays."""
        if not self._is_reading_head:
            super().resetTimeout()

    def timeoutConnection(self) -> None:
        if self._is_refused:
            self.transport.abortConnection()
        elif self._is_reading_head or self.requests:
            self._refuse_slow()
        else:
            super().timeoutConnection()

    def requestDone(self, request: Request) -> None:
        self._savedTimeOut = self.factory.limits.idle_s
        super().requestDone(request)

    def _refuse_slow(self) -> None:
        self.refuse(HTTPStatus.REQUEST_TIMEOUT, "It did not arrive in time. Try again.")

    # -- the head ---------------------------------------------------------------------------------

    def lineReceived(self, line: bytes) -> bool | None:
        """Read one line of the head. Return True to stop reading, as Twisted has it."""
        if self._is_refused:
            return True
        if self.requests and line[:1] in {b" ", b"\t"}:
            # Proxies disagree about whether this is a header of its own.
            self.refuse(HTTPStatus.BAD_REQUEST, "A header continues on a second line.")
        else:
            super().lineReceived(line)
        return self._is_refused or None

    def lineLengthExceeded(self, line: bytes) -> None:
        if self.requests:
            self._refuse_head()
        else:
            self.refuse(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long. Shorten it.")

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        """Accept exactly one of `Content-Length: digits` and `Transfer-Encoding: chunked`."""
        if header == b"Transfer-Encoding" and (data.lower() != b"chunked" or self._version != b"HTTP/1.1"):
            self.refuse(HTTPStatus.BAD_REQUEST, AMBIGUOUS)
            return False
        if header == b"Content-Length" and len(data) > LENGTH_MAX_DIGITS:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "It is too large.")
            return False
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def _failChooseTransferDecoder(self) -> bool:
        self.refuse(HTTPStatus.BAD_REQUEST, AMBIGUOUS)
        return False

    def allHeadersReceived(self) -> None:
        self._is_reading_head = False
        self._check_head(self.requests[-1])
        if not self._is_refused:
            super().allHeadersReceived()

    def _check_head(self, request: Request) -> None:
        hosts = request.requestHeaders.getRawHeaders(b"Host") or ()
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1"):
            self.refuse(HTTPStatus.BAD_REQUEST, "It needs exactly one Host header.")
        elif self.length != 0:
            self._begin_body(request)

    def _begin_body(self, request: Request) -> None:
        limits = self.factory.limits
        path = self._path.partition(b"?")[0].decode("ascii", "replace")
        self._body_max_bytes = limits.body_max_bytes(path)
        if self.length is not None and self.length > self._body_max_bytes:
            self._refuse_body()
        elif request.requestHeaders.hasHeader(b"Upgrade"):
            # It would be taken for the first frames of a websocket.
            self.refuse(HTTPStatus.BAD_REQUEST, "A request to upgrade has no body.")
        else:
            self._body_began_s = self.factory.reactor.seconds()
            self.setTimeout(limits.body_stall_s)

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse_head()
        else:
            self.refuse(HTTPStatus.BAD_REQUEST, "It is not valid HTTP.")

    def _refuse_head(self) -> None:
        reason = (
            f"The headers of this request are too large: the limit is {self.maxHeaders} headers with "
            f"{self.totalHeadersSize} bytes in total. In a browser, deleting the cookies of this site helps."
        )
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, reason)

    # -- the body ---------------------------------------------------------------------------------

    def rawDataReceived(self, data: bytes) -> bool | None:
        """Read a part of a body, or keep what was sent before the response to an earlier request."""
        if len(self._dataBuffer) > PIECES_MAX:
            # Twisted adds up the lengths of all pieces for each new one.
            self._dataBuffer = [b"".join(self._dataBuffer)]
        super().rawDataReceived(data)
        return self._is_refused or None

    def count_body(self, size: int) -> bool:
        """Count bytes of the body that arrived. Return False if the request is refused."""
        if self._is_refused:
            return False
        limits = self.factory.limits
        self._body_bytes += size
        self.factory.incomplete_bytes += size
        elapsed_s = self.factory.reactor.seconds() - self._body_began_s
        if self._body_bytes > self._body_max_bytes:
            self._refuse_body()
        elif self.factory.incomplete_bytes > limits.incomplete_max_bytes:
            reason = "The server receives too much at the moment. Try again later."
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        elif elapsed_s > limits.body_stall_s and self._body_bytes < elapsed_s * limits.body_bytes_per_s:
            self._refuse_slow()
        return not self._is_refused

    def allContentReceived(self) -> None:
        if not self._is_refused:
            self._release_body()
            super().allContentReceived()

    def connectionLost(self, reason: Any) -> None:
        self._release_body()
        super().connectionLost(reason)

    def _release_body(self) -> None:
        self.factory.incomplete_bytes -= self._body_bytes
        self._body_bytes = 0

    def _refuse_body(self) -> None:
        reason = (
            f"It is larger than the {self._body_max_bytes} bytes that are accepted here. Send less at once."
        )
        self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)


class HttpFactory(HTTPFactory):
    """Makes the channels of one server.

    `incomplete_bytes`: what is stored of bodies that are still arriving.
    """

    protocol = HttpChannel

    def __init__(self, server: Any, limits: RequestLimits) -> None:
        super().__init__(server)
        self.limits = limits
        self.timeOut = limits.idle_s
        self.incomplete_bytes = 0

    def buildProtocol(self, address: Any) -> HttpChannel:
        channel: HttpChannel = super().buildProtocol(address)
        channel.requestFactory = Request
        return channel

    def log(self, request: Request) -> None:
        """Do nothing: Twisted would format a line of an access log that is not written."""
