"""The text of a command's question: from an argument, a file or the standard input, or a text and a question.

A command with a question as its argument works with any standard input. Text that is piped into the command
itself is sent with the question. A standard input that it only shares, such as that of a `while read` loop or
of a program that runs it, is left alone: reading it would take away what they have still to read.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from django.core.management import CommandError

from chat.management.exits import Exit

# More than any model's context. Keeps large files that are passed by mistake out of memory and database.
MAX_BYTES = 4_000_000
# How long a command that has a question waits for the first byte of a text. A program that opened the pipe
# writes at once, if it ever does; the first byte of a pipeline may take as long as its query or download.
PROGRAM_PATIENCE_S = 1.0
PIPELINE_PATIENCE_S = 20.0

STDIN = "-"


def read_question(
    question: str | None, file: Path | None, *, timeout_s: float, warn: Callable[[str], None]
) -> str:
    """Return what is asked: a question, a text, or a text and below it the question about it.

    `question` and `file` are the arguments; `-` stands for the standard input. `timeout_s`: how long to wait
    for the first byte of a text that they ask for. `warn` is called if one that they do not ask for could
    still come, and does not. Raises CommandError.
    """
    asked = os.fsencode(question or "").decode(errors="replace") if question != STDIN else ""
    is_named = question == STDIN or file == Path(STDIN)
    if question == STDIN and file is not None:
        raise _usage_error("Both - and --file name a text. Use only one of them.")
    if file is not None and not is_named:
        text = _read_file(file)
    elif is_named or question is None:
        text = _read_stdin(timeout_s, is_named=is_named)
    else:
        text = _text_beside_question(warn)
    parts = [part for part in (text.strip("\n"), asked) if part.strip()]
    if not parts:
        raise _usage_error("The question is empty.")
    return "\n\n".join(parts)


def _read_stdin(timeout_s: float, *, is_named: bool) -> str:
    """Read the text that the command line asks for. Raises CommandError if there is none to read."""
    if sys.stdin is None or (sys.stdin.isatty() and not is_named):
        raise _usage_error('No question was given. Try: manage.py ask "What is a heap?"')
    if not sys.stdin.isatty() and not _is_readable(timeout_s):
        raise _usage_error(f"Nothing came from standard input for {timeout_s:g} s.")
    return _read_to_end()


def _text_beside_question(warn: Callable[[str], None]) -> str:
    """Return the text that is piped into this command, "" if there is none or if it is not this command's."""
    mode = _mode_of_stdin()
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""
    in_parent = _descriptors_in_parent()
    if 0 in in_parent:
        return ""
    # The other end of a socket cannot be found, but shells make pipes.
    is_programs = bool(in_parent) or stat.S_ISSOCK(mode)
    patience_s = PROGRAM_PATIENCE_S if is_programs else PIPELINE_PATIENCE_S
    if _is_readable(patience_s):
        return _read_to_end()
    if not is_programs:
        warn(f"Nothing came from standard input for {patience_s:g} s. To wait for it, add: --file -")
    return ""


def _mode_of_stdin() -> int:
    try:
        return os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # it is closed or missing
        return 0


def _descriptors_in_parent() -> set[int]:
    """Return the descriptors of the parent process that are this command's standard input, or its other end.

    Empty where that cannot be read: without /proc, or if the parent is another user's.
    """
    own = os.fstat(sys.stdin.fileno())
    found = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{os.getppid()}/fd").iterdir():
            with suppress(OSError):  # closed in the meantime
                if os.path.samestat(descriptor.stat(), own):
                    found.add(int(descriptor.name))
    return found


def _is_readable(wait_s: float) -> bool:
    """Wait until the standard input has data, or has ended. Return False if neither happens in `wait_s`."""
    try:
        return bool(select.select([sys.stdin], [], [], wait_s)[0])
    except (OSError, ValueError):  # something that cannot be waited for
        return True


def _read_to_end() -> str:
    return _decode(_read_limited(sys.stdin.buffer), "Standard input")


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
