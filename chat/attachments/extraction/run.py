"""Extract what a model can read of a file, in a child process that lives for this file only.

The file is a stranger's, and its parsers are large. The child has none of our secrets, limits of memory, time
and output, and ends with its parent. It is a new process for each file, so that a file that gets hold of it
sees no other file; starting it takes less than a tenth of a second of a processor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec

from chat.attachments.extraction.types import (
    DEFAULT,
    Extracted,
    ExtractionRefused,
    ExtractionRequest,
    Limits,
    RefusedFile,
    decode_result,
    encode,
)
from chat.text import clean

# More at a time would only take processors from answers; the others wait.
AT_ONCE = 2
_CHILD = "chat.attachments.extraction.child"
_ROOT = Path(__file__).resolve().parents[3]
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

_TOO_SLOW = "This file took too long to read. A smaller or simpler version of it may work."
_ENDED = "This file could not be read: it needs too much memory, or is damaged."


async def extract(
    path: Path, name: str, declared_type: str, *, limits: Limits = DEFAULT, keeps_stored: bool = False
) -> Extracted:
    """Return the picture or the text of a file. Raises ExtractionRefused, and OSError if there is no file.

    `keeps_stored`: a picture that was stored before is not encoded again if that is safe.
    The type is recognised by content; `name` and `declared_type` only choose between kinds of text.
    """
    size = (await asyncio.to_thread(path.stat)).st_size
    path = path.absolute()  # noqa: ASYNC240 - reads no file
    if size == 0:
        raise ExtractionRefused("empty", "This file is empty.")
    if size > limits.file_max_bytes:
        most = limits.file_max_bytes // (1024 * 1024)
        raise ExtractionRefused("too_large", f"This file is too large. Files may have up to {most} MB.")
    request = ExtractionRequest(
        str(path), clean(name)[-255:], clean(declared_type)[:255], limits, keeps_stored
    )
    async with _gate():
        data, code = await _run_child(request)
    return _result_of(data, code)


def _gate() -> asyncio.Semaphore:
    loop = asyncio.get_running_loop()
    return _gates.setdefault(loop, asyncio.Semaphore(AT_ONCE))


async def _run_child(request: ExtractionRequest) -> tuple[bytes, int]:
    """Return what the child wrote, and its exit code. Raises ExtractionRefused if it is too slow."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _CHILD),
        cwd=_ROOT,
        env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    order = encode(request)
    try:
        async with asyncio.timeout(request.limits.seconds):
            with suppress(ConnectionError):
                # Not closed before the child ends: it ends when its standard input does.
                child.stdin.write(len(order).to_bytes(4, "big") + order)
                await child.stdin.drain()
            data = await _read(child.stdout, request.limits.output_max_bytes)
            return data, await child.wait()
    except TimeoutError:
        raise ExtractionRefused("too_slow", _TOO_SLOW) from None
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _read(stream: asyncio.StreamReader, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    left = max_bytes
    while piece := await stream.read(64 * 1024):
        left -= len(piece)
        if left < 0:
            raise ExtractionRefused("too_large", "What is in this file is too large.")
        pieces.append(piece)
    return b"".join(pieces)


def _result_of(data: bytes, code: int) -> Extracted:
    """Return the child's result; what it sends is checked like any input."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise ExtractionRefused("too_slow", _TOO_SLOW)
    try:
        result: Extracted | RefusedFile = decode_result(data)
    except msgspec.MsgspecError:
        raise ExtractionRefused("damaged", _ENDED) from None
    if isinstance(result, RefusedFile):
        raise ExtractionRefused(result.code, clean(result.message))
    notes = tuple(clean(note) for note in result.notes)
    cleaned: Extracted = msgspec.structs.replace(result, text=clean(result.text), notes=notes)
    return cleaned
