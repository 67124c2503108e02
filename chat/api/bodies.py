"""Receiving request bodies: small ones are parsed in a thread, large ones in a child process.

What a large body contains never becomes objects in this process. It goes through in pieces of at most
SLICE_BYTES: from the connection to the child, from the child to the database.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import Any
from uuid import UUID, uuid4

from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from chat.api import schemas as wire
from chat.api.attached import NO_FILES, ReceivedFile, ReceivedFiles
from chat.api.errors import ApiError
from chat.api.file_parts import TakenFiles, take_files
from chat.api.invalid_body import InvalidBody
from chat.api.json_body import value_count
from chat.api.parser_child import COMPLETIONS, FileHeader, ParsedHeader, decode_header
from chat.api.parsing import ParsedBody, parse
from chat.models import LargeRequest, RequestSlice
from chat.models.large_request import (
    SLICE_BYTES,
    SLICES_PER_CHECKPOINT,
    LargeMessages,
    StoredMessages,
    checkpoint,
)
from chat.runtime.process import current_runtime

# A body up to these limits is parsed here, in a few milliseconds, and stored in one row.
SMALL_MAX_BYTES = 256 * 1024
SMALL_MAX_VALUES = 20_000
# The largest valid body takes a second on a slow machine.
CHILD_TIME_LIMIT_S = 30.0
HEADER_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceivedBody:
    """A valid body. `messages` of a large one are empty: they are in `stored`, described by `large`."""

    options: wire.CompletionOptions
    extras: dict[str, Any]
    messages: list[dict[str, Any]]
    large: LargeMessages | None = None
    stored: StoredMessages | None = None
    files: ReceivedFiles = NO_FILES


@dataclass(frozen=True, slots=True)
class ReceivedLargeBody:
    """A valid large body: its header, facts about its messages, and the messages, which are stored."""

    header: ParsedHeader
    large: LargeMessages
    stored: StoredMessages
    files: ReceivedFiles


# Returns the messages that are stored in front of those of a body with this header.
type MessagesBefore = Callable[[ParsedHeader], Awaitable[Sequence[bytes]]]


async def _nothing_before(header: ParsedHeader) -> Sequence[bytes]:
    return ()


def head_of(request: HttpRequest) -> bytes:
    """Return the beginning of a body: all of a small one. Raises ApiError `request_too_large`."""
    size = request.headers.get("Content-Length", "")
    if size.isdecimal() and int(size) > settings.API_BODY_MAX_BYTES:
        raise _too_large()
    body: bytes = request.read(SMALL_MAX_BYTES + 1)
    if len(body) > settings.API_BODY_MAX_BYTES:
        raise _too_large()
    return body


def is_large(head: bytes) -> bool:
    """Return whether the body that begins like this is parsed in a child process."""
    return len(head) > SMALL_MAX_BYTES or value_count(head) > SMALL_MAX_VALUES


async def receive(request: HttpRequest) -> ReceivedBody:
    """Read, parse and validate a body, and store the messages of a large one.

    Raises ApiError: `request_too_large`, `busy`, and the codes of status 400. Call `discard` if no generation
    is created for the body.
    """
    body = head_of(request)
    if is_large(body):
        received = await receive_large(request, body)
        header = received.header
        assert header.options is not None
        return ReceivedBody(
            header.options, header.extras, [], received.large, received.stored, received.files
        )
    try:
        parsed, taken = await asyncio.to_thread(_parse_small, body)
    except InvalidBody as exc:
        raise invalid(exc) from exc
    return ReceivedBody(parsed.options, parsed.extras, parsed.messages, files=ReceivedFiles.of(taken))


def _parse_small(body: bytes) -> tuple[ParsedBody, TakenFiles]:
    parsed = parse(body)
    return parsed, take_files(parsed.messages, "messages")


async def discard(stored: StoredMessages) -> None:
    """Delete the stored messages of a request that was refused, or repeats an earlier one.

    Nothing is deleted if a generation was stored for it after all, as the client was leaving.
    """
    slices = RequestSlice.objects.filter(
        large_request=stored.large_request_id, large_request__generation=None
    )
    while await current_runtime().writer.arun(partial(LargeRequest.delete_slices, slices, 1)):
        pass


async def receive_large(
    request: HttpRequest,
    head: bytes,
    *,
    kind: str = COMPLETIONS,
    before: MessagesBefore = _nothing_before,
) -> ReceivedLargeBody:
    """Parse a large body in a child process and store its messages, behind those of `before`.

    `kind`: which kind of request it is, see `parser_child`. Raises ApiError.
    """
    try:
        async with (
            current_runtime().connections.body_parsers,
            asyncio.timeout(CHILD_TIME_LIMIT_S),
            _child(kind) as child,
        ):
            return await _pass_through(request, head, child, before)
    except TimeoutError as exc:
        message = _("The server is too busy to read this request. Try again later.")
        raise ApiError("busy", message, retry_after_s=CHILD_TIME_LIMIT_S) from exc


async def _pass_through(
    request: HttpRequest, head: bytes, child: Process, before: MessagesBefore
) -> ReceivedLargeBody:
    """Send a body through a child and store the messages that come out."""
    await _send(request, head, child)
    header = await _header(child)
    if header.code:
        raise _translated(header.code, header.message, header.values, header.param)
    earlier = await before(header)
    stored = StoredMessages(uuid4(), header.text)
    async with _discarded_on_error(stored):
        number = await _store_slices(stored, b"".join(message + b"," for message in earlier))
        await _store(child, stored.large_request_id, header.size_bytes, number)
        files = ReceivedFiles([await _file(child, each) for each in header.files], header.file_ids)
    large = LargeMessages(
        header.digest,
        header.message_count + len(earlier),
        header.text_bytes + sum(map(len, earlier)),
    )
    return ReceivedLargeBody(header, large, stored, files)


async def store_messages(messages: Sequence[bytes], text: str) -> StoredMessages:
    """Store messages in slices, as those of a large body. `text`: see StoredMessages."""
    stored = StoredMessages(uuid4(), text)
    async with _discarded_on_error(stored):
        await _store_slices(stored, b",".join(messages))
    return stored


@asynccontextmanager
async def _discarded_on_error(stored: StoredMessages) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await discard(stored)
        raise


async def _store_slices(stored: StoredMessages, data: bytes) -> int:
    """Store the first slices; return how many."""
    writer = current_runtime().writer
    starts = range(0, len(data), SLICE_BYTES)
    for number, start in enumerate(starts):
        piece = data[start : start + SLICE_BYTES]
        await writer.arun(partial(LargeRequest.add_slice, stored.large_request_id, number, piece))
    return len(starts)


@asynccontextmanager
async def _child(kind: str) -> AsyncIterator[Process]:
    """Run a parser. It is killed when the block is left before its end."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chat.api.parser_child", kind),
        cwd=settings.BASE_DIR,
        # The child parses untrusted data and needs none of our secrets.
        env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        stdin=PIPE,
        stdout=PIPE,
        limit=HEADER_MAX_BYTES,
    )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _send(request: HttpRequest, head: bytes, child: Process) -> None:
    assert child.stdin is not None
    size, piece = 0, head
    read: Callable[[], bytes] = partial(request.read, SLICE_BYTES)
    while piece:
        size += len(piece)
        if size > settings.API_BODY_MAX_BYTES:
            raise _too_large()
        child.stdin.write(piece)
        await child.stdin.drain()
        piece = read()
    child.stdin.close()


async def _header(child: Process) -> ParsedHeader:
    assert child.stdout is not None
    line = await child.stdout.readuntil(b"\n")
    return await asyncio.to_thread(decode_header, line)


async def _store(child: Process, large_request_id: UUID, size_bytes: int, first: int) -> None:
    """Store the messages as they arrive from the child, from slice `first` on. Raises IncompleteReadError."""
    assert child.stdout is not None
    writer = current_runtime().writer
    for number, start in enumerate(range(0, size_bytes, SLICE_BYTES), first):
        data = await child.stdout.readexactly(min(SLICE_BYTES, size_bytes - start))
        await writer.arun(partial(LargeRequest.add_slice, large_request_id, number, data))
        if number % SLICES_PER_CHECKPOINT == SLICES_PER_CHECKPOINT - 1:
            await database_sync_to_async(checkpoint)()


async def _file(child: Process, header: FileHeader) -> ReceivedFile:
    """Receive a file that was in the messages, into a temporary one. Raises IncompleteReadError."""
    assert child.stdout is not None
    file = TemporaryFile()  # noqa: SIM115 - closed with the request
    for start in range(0, header.size_bytes, SLICE_BYTES):
        file.write(await child.stdout.readexactly(min(SLICE_BYTES, header.size_bytes - start)))
    file.seek(0)
    return ReceivedFile(header.reference, header.name, header.media_type, file)


def _too_large() -> ApiError:
    return ApiError(
        "request_too_large",
        _("The request body is larger than %(limit)s bytes. Send less text, or fewer or smaller images.")
        % {"limit": settings.API_BODY_MAX_BYTES},
    )


def invalid(exc: InvalidBody) -> ApiError:
    """Return the error of an invalid body, translated."""
    return _translated(exc.code, exc.message, exc.values, exc.param)


def _translated(code: str, message: str, values: dict[str, Any], param: str | None) -> ApiError:
    return ApiError(code, _(message) % values, param=param)
