"""The text of a command's question: from an argument, a file or the standard input."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from django.core.management import CommandError

from chat.management.exits import Exit

# More than any model's context. Keeps large files that are passed by mistake out of memory and database.
MAX_BYTES = 4_000_000


def read_question(argument: str | None, file: Path | None) -> str:
    """Return the text of the question. Raises CommandError unless exactly one source has one."""
    _check_sources(argument, file)
    if argument not in (None, "-"):
        text = os.fsencode(argument or "").decode(errors="replace")
    elif file is not None:
        text = _read_file(file)
    elif sys.stdin.isatty() and argument != "-":
        raise _usage_error('No question was given. Try: manage.py ask "What is a heap?"')
    else:
        text = _decode(_read_limited(sys.stdin.buffer), "Standard input")
    if not text.strip():
        raise _usage_error("The question is empty.")
    return text


def _check_sources(argument: str | None, file: Path | None) -> None:
    sources = {
        "an argument": argument not in (None, "-"),
        "--file": file is not None,
        "standard input": argument == "-" or _is_piped(),
    }
    names = [name for name, is_used in sources.items() if is_used]
    if len(names) <= 1:
        return
    message = f"The question has more than one source: {' and '.join(names)}. Use only one."
    if names[-1] == "standard input" and argument != "-":
        message += " To ignore standard input, add </dev/null."
    raise _usage_error(message)


def _is_piped() -> bool:
    """Return whether the standard input is a pipe or a file, not a terminal or /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # it is closed or missing
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decode(_read_limited(file), str(path))
    except OSError as error:
        raise _usage_error(f"Cannot read {path}: {error.strerror}.") from error


def _read_limited(file: BinaryIO) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _usage_error(f"The question is longer than the limit of {MAX_BYTES:,} bytes.")
    return content


def _decode(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _usage_error(f"{source} is not UTF-8 text.") from error


def _usage_error(message: str) -> CommandError:
    return CommandError(message, returncode=Exit.USAGE)
