"""Where a command's question comes from: an argument, a file, or what is piped in. One of them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from django.core.management import CommandError

from chat.management.exits import Exit

# No model reads as much; it keeps a slip, such as a disk image, out of memory and database.
MAX_BYTES = 4_000_000


def read(argument: str | None, file: Path | None) -> str:
    """Return the one question that was given. Raises CommandError if there is none, or more than one."""
    given = [
        name
        for name, is_given in (
            ("an argument", argument not in (None, "-")),
            ("--file", file is not None),
            ("the standard input", argument == "-" or _is_piped()),
        )
        if is_given
    ]
    if len(given) > 1:
        words = f"Ask one thing: there is {' and '.join(given)}."
        if given[-1] == "the standard input" and argument != "-":
            words += " If nothing of the standard input is meant, add </dev/null."
        raise _unusable(words)
    if argument not in (None, "-"):
        text = os.fsencode(argument or "").decode(errors="replace")
    elif file is not None:
        text = _read_file(file)
    elif sys.stdin.isatty() and argument != "-":
        raise _unusable('There is nothing to ask. Try: manage.py ask "What is a heap?"')
    else:
        text = _decoded(_read_some(sys.stdin.buffer), "The standard input")
    if not text.strip():
        raise _unusable("The question is empty.")
    return text


def _is_piped() -> bool:
    """Say whether somebody means to give us something: a pipe or a file, not a terminal or /dev/null."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # closed, or none at all
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decoded(_read_some(file), str(path))
    except OSError as error:
        raise _unusable(f"Cannot read {path}: {error.strerror}.") from error


def _read_some(file: BinaryIO) -> bytes:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _unusable(f"That is more than {MAX_BYTES:,} bytes. Ask something shorter.")
    return content


def _decoded(content: bytes, whose: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unusable(f"{whose} is not text in UTF-8.") from error


def _unusable(words: str) -> CommandError:
    return CommandError(words, returncode=Exit.USAGE)
