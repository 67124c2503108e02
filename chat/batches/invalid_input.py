"""What is wrong with an upload, by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from chat.errors import RequestRefused

# Further ones are only counted.
SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class InputProblem:
    """`line`: of the file, from 1; None: the problem is not in one line."""

    line: int | None
    text: str

    def __str__(self) -> str:
        if self.line is None:
            return self.text
        return _("Line %(line)d: %(text)s") % {"line": self.line, "text": self.text}


class InputInvalid(RequestRefused):
    """Nothing of an upload is stored. `problems`: the first ones; `further`: how many more there are."""

    def __init__(self, problems: Sequence[InputProblem], further: int = 0) -> None:
        self.problems = list(problems)
        self.further = further
        lines = [str(problem) for problem in problems]
        if further:
            lines.append(_("%(further)d more lines have problems.") % {"further": further})
        super().__init__("invalid_input", "\n".join(lines))


class ProblemList:
    """Collects problems while an upload is read."""

    def __init__(self) -> None:
        self._found: list[InputProblem] = []
        self._count = 0

    def add(self, line: int | None, text: str) -> None:
        self._count += 1
        if len(self._found) < SHOWN_MAX:
            self._found.append(InputProblem(line, text))

    def check(self) -> None:
        """Raises InputInvalid if there was any."""
        if self._count:
            raise InputInvalid(self._found, self._count - len(self._found))


def invalid(text: str, line: int | None = None) -> InputInvalid:
    """Return the error of an upload that cannot be read beyond this point."""
    return InputInvalid([InputProblem(line, text)])
