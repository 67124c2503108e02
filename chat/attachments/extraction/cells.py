"""The cells of workbooks as text."""

from __future__ import annotations

import datetime


def cell_text(value: object) -> str:
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
