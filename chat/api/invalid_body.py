"""The error of a body that is not a valid request; without Django, for the child process."""

from __future__ import annotations

from typing import Any


class InvalidBody(Exception):
    """A body that is not a valid request. `message % values` is the text of the error."""

    def __init__(self, code: str, message: str, values: dict[str, Any], param: str | None = None) -> None:
        super().__init__(message % values)
        self.code = code
        self.message = message
        self.values = values
        self.param = param
