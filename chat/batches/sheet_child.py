"""Print the rows of a workbook's first sheet, each as a JSON list of texts.

Arguments: the path, and the limits of memory (bytes) and time (seconds).
"""

from __future__ import annotations

import datetime
import resource
import sys

import msgspec


def main(path: str, memory_bytes: int, cpu_s: int) -> int:
    """Return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    from python_calamine import CalamineError, CalamineWorkbook  # after the limits are set

    try:
        sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0)
        for row in sheet.iter_rows():
            sys.stdout.buffer.write(msgspec.json.encode([as_text(cell) for cell in row]) + b"\n")
    except (CalamineError, MemoryError, OSError, ValueError, IndexError):
        return 1
    sys.stdout.buffer.flush()
    return 0


def as_text(value: object) -> str:
    """Return a cell as people see it: whole numbers without a fraction, dates in ISO format."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
