"""The process that reads one file: an ExtractionRequest on standard input, its result on standard output.

It imports neither Django nor asyncio, and the library of a format only for a file of this format.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
from importlib import import_module

from chat.attachments.extraction import confinement
from chat.attachments.extraction.recognise import recognise
from chat.attachments.extraction.source import SourceFile
from chat.attachments.extraction.types import (
    Extracted,
    ExtractionRefused,
    ExtractionRequest,
    RefusedFile,
    decode_request,
    encode,
)

_FORMATS = "chat.attachments.extraction.formats"


def read_file(request: ExtractionRequest) -> Extracted | RefusedFile:
    """Return what is in a file, or why it is refused."""
    try:
        with SourceFile(request) as source:
            found = recognise(source)
            reader = import_module(f"{_FORMATS}.{found.reader}")
            confinement.forbid_side_effects()
            result: Extracted = reader.read(source, found.media_type)
            return result
    except ExtractionRefused as exc:
        return RefusedFile(exc.code, exc.message)
    except confinement.SideEffectForbidden:
        return RefusedFile(
            "unsafe", "This file tried to do something that only programs do. It was not read."
        )
    except MemoryError:
        return RefusedFile("too_large", "This file needs too much memory.")
    except RecursionError:
        return RefusedFile("unsafe", "This file is nested too deeply.")


def main() -> None:
    stdin = sys.stdin.buffer
    size = int.from_bytes(stdin.read(4), "big")
    request = decode_request(stdin.read(size))
    confinement.limit(request.limits)
    _thread.start_new_thread(_end_with_parent, ())
    sys.stdout.buffer.write(encode(read_file(request)))
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing of the libraries runs after the result is out


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
