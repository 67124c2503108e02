"""Print the rows of a workbook's first sheet, each as a JSON list of texts.

Arguments: the path, and the limits of memory (bytes) and time (seconds).
"""

from __future__ import annotations

import resource
import sys

import msgspec

from chat.attachments.extraction.cells import cell_text


def main(path: str, memory_bytes: int, cpu_s: int) -> int:
    """Return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    from python_calamine import CalamineError, CalamineWorkbook  # after the limits are set

    try:
        sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0)
        for row in sheet.iter_rows():
            sys.stdout.buffer.write(msgspec.json.encode([cell_text(cell) for cell in row]) + b"\n")
    except (CalamineError, MemoryError, OSError, ValueError, IndexError):
        return 1
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
