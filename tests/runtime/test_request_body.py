"""A large body reaches the application in pieces, with turns of the event loop in between."""

import asyncio
import io
import tempfile

from chat.runtime.asgi_server.request_body import PIECE_BYTES, PIECES_AHEAD, LargeBody


class Request:
    def __init__(self, content):
        self.content = content


def file_of(size):
    content = tempfile.TemporaryFile()  # noqa: SIM115
    content.write(b"x" * size)
    content.seek(0)
    return content


async def test_a_large_body_comes_in_pieces_over_several_turns():
    queue = asyncio.Queue()
    request = Request(file_of(2 * PIECE_BYTES + 5))
    body = LargeBody.take(request, queue)
    assert request.content.read() == b""
    body.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    assert queue.empty()
    await asyncio.sleep(0)
    assert queue.qsize() == 1
    pieces = [await queue.get() for _ in range(3)]
    assert [len(piece["body"]) for piece in pieces] == [PIECE_BYTES, PIECE_BYTES, 5]
    assert [piece["more_body"] for piece in pieces] == [True, True, False]


async def test_a_client_that_leaves_ends_the_body():
    queue = asyncio.Queue()
    body = LargeBody.take(Request(file_of(9 * PIECE_BYTES)), queue)
    body.put_nowait({"type": "http.request"})
    await asyncio.sleep(0)
    body.put_nowait({"type": "http.disconnect"})
    await asyncio.sleep(0.01)
    assert [queue.get_nowait()["type"] for _ in range(queue.qsize())] == ["http.request", "http.disconnect"]


def test_a_small_body_is_left_to_daphne():
    assert LargeBody.take(Request(io.BytesIO(b"small")), asyncio.Queue()) is None


async def test_no_more_pieces_are_read_than_the_application_takes():
    queue = asyncio.Queue()
    body = LargeBody.take(Request(file_of(9 * PIECE_BYTES)), queue)
    body.put_nowait({"type": "http.request"})
    most, has_more = 0, True
    while has_more:
        for _ in range(20):
            await asyncio.sleep(0)
        most = max(most, queue.qsize())
        has_more = (await queue.get())["more_body"]
    assert most == PIECES_AHEAD
