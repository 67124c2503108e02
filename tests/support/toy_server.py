"""A program: our ASGI server with a small application that misbehaves on request."""

import asyncio
import socket
import sys

from chat.runtime.asgi_server import Server

resume = asyncio.Event()


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def application(scope, receive, send):
    await {"http": http, "websocket": websocket}[scope["type"]](scope, receive, send)


async def http(scope, receive, send):
    path = scope["path"]
    if path == "/raises-at-once":
        raise RuntimeError("at once")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if path == "/raises-in-the-middle":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("in the middle")
    if path == "/returns-in-the-middle":
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        return
    if path == "/stream":
        await send({"type": "http.response.body", "body": b"event 1\n", "more_body": True})
        print_line("streaming")
        await resume.wait()
        for number in range(2, 6):
            await send({"type": "http.response.body", "body": b"event %d\n" % number, "more_body": True})
    if path == "/endless":
        await send({"type": "http.response.body", "body": b"begin", "more_body": True})
        print_line("endless")
        await asyncio.Event().wait()
    if path == "/flood":
        print_line("flooding")
        for number in range(2000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            if number == 200:
                print_line("flooded")
    if path == "/connections":
        # This very request is one of them.
        text = str(len(server.connections)).encode()
        await send({"type": "http.response.body", "body": text})
        return
    await send({"type": "http.response.body", "body": b"end"})
    if path == "/works-on":
        await resume.wait()


async def websocket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            print_line(f"disconnected {message['code']}")
            return
        if message.get("text") == "raise":
            raise RuntimeError("in a socket")
        if message.get("text") == "flood":
            print_line("flooding")
            for _ in range(200):
                await send({"type": "websocket.send", "text": "x" * 65536})
            print_line("flooded")
        await send({"type": "websocket.send", "text": f"{len(message['text'])} characters"})


async def startup():
    print_line("starting")
    if "fails" in sys.argv:
        raise OSError("the shelf is empty")


async def drain():
    print_line("draining")
    resume.set()


async def shutdown():
    print_line("shut down")


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
port = listening.getsockname()[1]
server = Server(
    application,
    listening,
    startup=startup,
    ready=lambda: print_line(f"ready {port}"),
    drain=drain,
    shutdown=shutdown,
    drain_s=1.0,
    frame_max_bytes=4 * 1024 * 1024,
)
server.run()
print_line("ended")
