"""What the documents say about the wire is what the wire says."""

import re
from pathlib import Path

from chat import events, frames

ROOT = Path(__file__).resolve().parent.parent
SOCKET = (ROOT / "docs/socket.md").read_text()


def tags(union):
    return {kind.__struct_config__.tag for kind in union.__value__.__args__}


def test_every_frame_and_every_event_is_described():
    for tag in tags(frames.ClientFrame) | tags(frames.ServerFrame) | tags(events.Event):
        assert f"| `{tag}` |" in SOCKET, tag


def test_every_field_of_an_event_is_described():
    for kind in events.Event.__value__.__args__:
        line = next(line for line in SOCKET.splitlines() if f"| `{kind.__struct_config__.tag}` |" in line)
        for name in kind.__struct_fields__:
            assert f"`{name}`" in line, (kind, name)


def test_every_code_of_a_refusal_over_the_socket_is_listed():
    sources = ["chat/frames.py", "chat/consumers.py", "chat/models/conversation.py"]
    code = "".join((ROOT / source).read_text() for source in sources)
    for name in re.findall(r'Refused\(\s*"(\w+)"', code):
        assert f"`{name}`" in SOCKET, name
