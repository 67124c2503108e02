"""A websocket client for tests: sends questions, follows answers, and reads what a page would show."""

import json
from uuid import uuid4

FINAL = {"completed", "stopped", "failed", "interrupted", "snapshot"}


def ask(socket, text, **fields):
    """Send a question; return its acknowledgement."""
    client_id = fields.pop("client_id", uuid4().hex)
    socket.send(json.dumps({"type": "ask", "client_id": client_id, "text": text, **fields}))
    return next_frame(socket, lambda frame: frame["type"] in {"accepted", "refused"})


def next_frame(socket, is_wanted):
    while True:
        frame = json.loads(socket.recv(timeout=30))
        if is_wanted(frame):
            return frame


def follow(socket, generation, after=0):
    socket.send(json.dumps({"type": "follow", "generation": generation, "after": after}))


def read(socket, generation, text="", last=0):
    """Read a generation's events as a page does; yield (text, seq) after each, until it is final."""
    while True:
        frame = next_frame(socket, lambda frame: frame.get("generation") == generation and "seq" in frame)
        assert frame["seq"] == last + 1
        last = frame["seq"]
        match frame["type"]:
            case "delta":
                text += frame["text"]
            case "restarted":
                text = ""
            case "snapshot":
                text = frame["text"]
        yield text, last
        if frame["type"] in FINAL:
            return


def whole(socket, generation):
    """Return the text as it is on the screen at the end."""
    *_before, (text, _last) = read(socket, generation)
    return text


def end_of(socket, generation):
    """Return the last event of a generation."""
    return next_frame(socket, lambda frame: frame.get("generation") == generation and frame["type"] in FINAL)
