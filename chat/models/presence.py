"""Whether there are rows of a rare kind at all, so that the way of every answer pays nothing for them."""

from __future__ import annotations

from collections.abc import Callable


class Presence:
    """Whether any rows exist, known in this process.

    The heartbeat reads it at each tick, so that other processes learn of the first row within a second.
    """

    def __init__(self, exist: Callable[[], bool]) -> None:
        """`exist` asks the database."""
        self._exist = exist
        self._any_exist: bool | None = None

    def note(self, *, any_exist: bool) -> None:
        self._any_exist = any_exist

    def refresh(self) -> None:
        """Read it from the database."""
        self._any_exist = self._exist()

    @property
    def is_known_empty(self) -> bool:
        """Whether it is known without a query that there are none."""
        return self._any_exist is False

    def any_exist(self) -> bool:
        if self._any_exist is None:
            self.refresh()
        return bool(self._any_exist)
