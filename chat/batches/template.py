"""Templates of prompts: `Summarise: {{text}}` with a column `text`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.utils.translation import gettext as _

from chat.batches.invalid_input import invalid

_PLACE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
# Columns that hold whole prompts, if there is no template.
USUAL_NAMES = ("prompt", "text", "question", "input", "message")


class Template:
    """A template for rows with certain columns."""

    def __init__(self, source: str, columns: Sequence[str]) -> None:
        """Raises InputInvalid for a column that is missing, or if there is nothing to choose one by."""
        self.source = source if source.strip() else _default(columns)
        places = {name.casefold(): place for place, name in reversed(list(enumerate(columns)))}
        self._parts: list[str | int] = []
        end = 0
        for found in _PLACE.finditer(self.source):
            name = found[1]
            if name.casefold() not in places:
                raise invalid(
                    _("There is no column “%(name)s”. The columns are: %(columns)s.")
                    % {"name": name[:80], "columns": ", ".join(columns)[:500]}
                )
            self._parts += [self.source[end : found.start()], places[name.casefold()]]
            end = found.end()
        if not self._parts:
            raise invalid(
                _("The template names no column. Write, for example, %(example)s.")
                % {"example": f"{self.source[:80].strip()} {{{{{columns[0]}}}}}"}
            )
        self._parts.append(self.source[end:])

    def fill(self, cells: Sequence[str]) -> str:
        """Return the prompt of a row."""
        filled = (
            part if isinstance(part, str) else (cells[part] if part < len(cells) else "")
            for part in self._parts
        )
        return "".join(filled)

    def is_empty_for(self, cells: Sequence[str]) -> bool:
        """Whether every column that it names is empty in this row."""
        used = [part for part in self._parts if isinstance(part, int)]
        return not any(cells[part].strip() for part in used if part < len(cells))


def _default(columns: Sequence[str]) -> str:
    usual = [name for name in columns if name.casefold() in USUAL_NAMES]
    if len(columns) != 1 and len(usual) != 1:
        raise invalid(
            _("Write a template that says what is sent for each row, such as “Summarise: %(example)s”. ")
            % {"example": f"{{{{{columns[0]}}}}}"}
            + _("The columns are: %(columns)s.") % {"columns": ", ".join(columns)[:500]}
        )
    return f"{{{{{(usual or columns)[0]}}}}}"
