"""Streams of responses as a program without a library sees them."""

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit

TOOLS = [{"type": "function", "name": "forecast", "parameters": {"type": "object"}, "strict": False}]
# Thinking, text and two calls, in pieces.
FULL = "hello [[deltas=12 reasoning=4 tool_calls=2 text_first]]"


def blocks_of(stream):
    """Return the events of a stream as bytes, in order, without comments."""
    blocks = stream.split(b"\n\n")
    return [block for block in blocks if block.startswith((b"event: ", b"data: "))]


def number_of(block):
    return json.loads(block.partition(b"\ndata: ")[2])["sequence_number"]


def events_in(stream):
    """Return the events of a whole stream, by number. The stream has to end as it should."""
    *blocks, done = blocks_of(stream)
    assert done == b"data: [DONE]", stream[-500:]
    found = {number_of(block): block for block in blocks}
    assert len(found) == len(blocks)
    assert list(found) == sorted(found)
    return found


def open_stream(api, response_id, after=-1, *, key=None, base_url=None):
    """Begin to follow a response; return the connection and the reply."""
    connection = http.client.HTTPConnection(urlsplit(base_url or api.base_url).netloc, timeout=30)
    path = f"/v1/responses/{response_id}?stream=true&starting_after={after}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {key or api.key}"})
    return connection, connection.getresponse()


def followed(api, response_id, after=-1, **options):
    """Return the whole stream of a response behind event `after`."""
    connection, reply = open_stream(api, response_id, after, **options)
    with closing(connection):
        assert reply.status == 200
        return reply.read()


def begin(api, text, **more):
    """Start a response in the background and return its id."""
    client = api.client()
    return client.responses.create(model="fake", input=text, background=True, tools=TOOLS, **more).id
