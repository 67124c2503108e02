"""The rows of an XLSX file, read by a process of its own.

The library takes the whole workbook into memory, and a small file can contain a very large one. The child has
limits of memory and time, and the parent reads its output row by row.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from django.utils.translation import gettext as _

from chat.batches.invalid_input import invalid

# Much more than a workbook of 50,000 ordinary rows takes.
MEMORY_MAX_BYTES = 1024 * 1024 * 1024
CPU_MAX_S = 30


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each row of the first sheet. Raises InputInvalid."""
    command = [
        sys.executable,
        "-m",
        "chat.batches.sheet_child",
        str(path),
        str(MEMORY_MAX_BYTES),
        str(CPU_MAX_S),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:  # noqa: S603
        assert child.stdout is not None
        try:
            for number, line in enumerate(child.stdout, 1):
                yield number, msgspec.json.decode(line, type=list[str])
        except msgspec.DecodeError:
            pass  # it was killed in the middle of a row
        finally:
            child.kill()
            code = child.wait()
    if code:
        raise invalid(
            _("This workbook cannot be read, or is too large. Remove sheets and pictures, or save it as CSV.")
        )
