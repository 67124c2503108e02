"""A raw socket client: the exact bytes from the fake provider, and how the response ended."""

import json
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Reply:
    raw: bytes = b""
    was_reset: bool = False
    took_s: float = 0
    first_byte_s: float = 0
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    chunks: list = field(default_factory=list)
    is_whole: bool = False  # the body ended as HTTP says it must

    @property
    def lines(self):
        return [line for line in self.body.decode("utf-8", "replace").splitlines() if line]

    @property
    def payloads(self):
        return [line.removeprefix("data: ") for line in self.lines if line.startswith("data: ")]

    @property
    def is_done(self):
        return "[DONE]" in self.payloads

    @property
    def events(self):
        return [found for found in map(parsed, self.payloads) if found]

    @property
    def choices(self):
        return [choice for event in self.events for choice in event.get("choices", [])]

    def pieces(self, key="content"):
        found = (choice["delta"].get(key) for choice in self.choices)
        return [piece for piece in found if piece]

    @property
    def text(self):
        text = "".join(self.pieces())
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")

    @property
    def finish(self):
        return next((choice["finish_reason"] for choice in self.choices if choice["finish_reason"]), None)

    @property
    def usage(self):
        return next((event["usage"] for event in self.events if event.get("usage")), None)

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    @property
    def is_healthy(self):
        return self.is_whole and self.status == 200 and self.is_done and self.finish == "stop"


def parsed(payload):
    try:
        return json.loads(payload)
    except ValueError:
        return None


def body_for(text, model="fake", stream=True, **more):
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]} | more


def connect(provider):
    return socket.create_connection(
        (urlsplit(provider.url).hostname, urlsplit(provider.url).port), timeout=20
    )


def send(sock, method, path, body=None, headers=None):
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: fake", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {"Connection": "close"}).items()]
    sock.sendall("\r\n".join([*lines, "", ""]).encode() + content)


def call(provider, method, path, body=None, **headers):
    """Send one request and read until the connection ends."""
    reply, started = Reply(), time.monotonic()
    with connect(provider) as sock:
        send(sock, method, path, body, {"Connection": "close"} | headers)
        try:
            while data := sock.recv(1 << 20):
                reply.first_byte_s = reply.first_byte_s or time.monotonic() - started
                reply.raw += data
        except ConnectionResetError:
            reply.was_reset = True
    reply.took_s = time.monotonic() - started
    read(reply)
    return reply


def ask(provider, text, model="fake", **more):
    return call(provider, "POST", "/v1/chat/completions", body_for(text, model, **more))


def read(reply):
    """Parse the bytes of a reply."""
    head, found, rest = reply.raw.partition(b"\r\n\r\n")
    if not found or not head.startswith(b"HTTP/1.1 "):
        return
    first, *lines = head.decode("latin-1").split("\r\n")
    reply.status = int(first.split()[1])
    reply.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if reply.headers.get("transfer-encoding") == "chunked":
        _read_chunks(reply, rest)
    else:
        reply.body = rest
        size = reply.headers.get("content-length")
        reply.is_whole = not reply.was_reset and (size is None or len(rest) == int(size))


def _read_chunks(reply, rest):
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunk, rest = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        reply.is_whole = reply.is_whole or size == b"0"
        reply.chunks += [chunk] if chunk else []
    reply.body = b"".join(reply.chunks)
