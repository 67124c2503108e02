"""The lines of a batch from an upload: checked as a whole first, then made one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _

from chat.batches import tables
from chat.batches.invalid_input import InputInvalid, ProblemList, invalid
from chat.batches.tables import Table, UploadedRow
from chat.batches.template import Template
from chat.generation.usage import TOKENS_PER_MESSAGE, estimate_tokens
from chat.models.api_request import ApiRequest
from chat.models.batch_line import NewLine
from chat.text import text_of

# As at OpenAI. An upload is smaller than the 200 MB there, since what is made of it may be larger.
ROWS_MAX = 50_000
CUSTOM_ID_MAX_CHARS = 200
# How many rows the tokens are counted of; the others are taken to be as long by their characters.
TOKENS_OF_ROWS = 1_000

# What is made of the body of a line in the format of the batch API. Raises RequestRefused.
type Convert = Callable[[str, dict[str, Any]], ApiRequest]

# Parameters of the API that models are sent; the others are passed on as extras.
_OWN = frozenset({"model", "messages", "stream", "stream_options", "store", "metadata", "user"})


def chat_request(url: str, body: dict[str, Any]) -> ApiRequest:
    """Return the request in a line for chat completions. Raises InputInvalid."""
    if url != "/v1/chat/completions":
        raise invalid(_("“url” must be /v1/chat/completions."))
    messages = body.get("messages")
    is_list = isinstance(messages, list) and messages and all(isinstance(each, dict) for each in messages)
    if not is_list:
        raise invalid(_("“body.messages” must be a list of messages."))
    parameters = {name: value for name, value in body.items() if name not in _OWN and value is not None}
    limit = parameters.pop("max_completion_tokens", None)
    if limit is not None:
        parameters.setdefault("max_tokens", limit)
    return ApiRequest(list(messages or ()), parameters)


@dataclass(slots=True)
class LineSource:
    """An upload, and what is made of it.

    `path`, `kind`: the file; see `tables.read`. `system_prompt`: only for the estimate. `convert`: for lines
    in the format of the batch API.
    """

    path: Path
    kind: str
    template: str = ""
    system_prompt: str = ""
    convert: Convert = chat_request
    rows_max: int = ROWS_MAX
    table: Table = field(default_factory=Table)
    # Known after `check`.
    total: int = 0
    prompt_tokens: int = 0
    models: set[str] = field(default_factory=set)
    filled: Template | None = None

    def check(self) -> None:
        """Read the whole upload, once. Raises InputInvalid, with the lines of the problems."""
        if self.total:
            return
        problems, seen = ProblemList(), dict[str, int]()
        counted = _TokenCount(estimate_tokens(self.system_prompt) + TOKENS_PER_MESSAGE)
        with closing(tables.read(self.path, self.kind, self.table)) as rows:
            for row in rows:
                self.total += 1
                if self.total > self.rows_max:
                    text = _("The upload has more than %(limit)d rows. Divide it.")
                    raise invalid(text % {"limit": self.rows_max}, row.line)
                self._check_row(row, problems, seen, counted)
        if not self.total:
            raise invalid(_("The upload has no rows.") if not self.table.columns else _no_rows(self.kind))
        problems.check()
        self.prompt_tokens = counted.total(self.total)

    def _check_row(
        self, row: UploadedRow, problems: ProblemList, seen: dict[str, int], counted: _TokenCount
    ) -> None:
        if row.problem:
            problems.add(row.line, row.problem)
            return
        try:
            line = self._line(self.total, row)
        except InputInvalid as error:
            if self.filled is None and not self.table.is_api:
                raise  # the template itself
            for problem in error.problems:
                problems.add(row.line, problem.text)
            return
        earlier = seen.setdefault(line.custom_id, row.line)
        if earlier != row.line:
            places = {"id": line.custom_id[:80], "line": earlier}
            problems.add(row.line, _("has the same custom_id as line %(line)d: “%(id)s”.") % places)
        counted.add(_text_of(line))

    def lines(self) -> Iterator[NewLine]:
        """Yield the lines, without their batch. After `check`."""
        columns = list(self.table.columns)
        with closing(
            tables.read(self.path, self.kind, Table(columns if self.kind == "jsonl" else []))
        ) as rows:
            for number, row in enumerate(rows, 1):
                yield self._line(number, row)

    def _line(self, number: int, row: UploadedRow) -> NewLine:
        if row.body is not None:
            return self._api_line(number, row, row.body)
        if self.filled is None:
            self.filled = Template(self.template, self.table.columns)
        if self.filled.is_empty_for(row.cells):
            raise invalid(_("The prompt is empty."))
        prompt = self.filled.fill(row.cells)
        _check_length(prompt)
        return NewLine(number=number, custom_id=f"row-{number}", cells=row.cells, prompt=prompt)

    def _api_line(self, number: int, row: UploadedRow, body: dict[str, Any]) -> NewLine:
        if not 0 < len(row.custom_id) <= CUSTOM_ID_MAX_CHARS:
            limit = {"limit": CUSTOM_ID_MAX_CHARS}
            raise invalid(_("“custom_id” must have 1 to %(limit)d characters.") % limit)
        self.models.add(str(body.get("model", ""))[:200])
        if len(self.models) > 1:
            raise invalid(_("All lines must name the same model."))
        request = msgspec.to_builtins(self.convert(row.url, body))
        return NewLine(number=number, custom_id=row.custom_id, request=request)


class _TokenCount:
    """Estimates the tokens of all rows from those of the first ones."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._rows = self._tokens = self._counted_chars = self._chars = 0

    def add(self, text: str) -> None:
        self._chars += len(text)
        if self._rows < TOKENS_OF_ROWS:
            self._rows += 1
            self._tokens += estimate_tokens(text)
            self._counted_chars += len(text)

    def total(self, rows: int) -> int:
        ratio = self._chars / self._counted_chars if self._counted_chars else 1
        return round(self._tokens * ratio) + self._each * rows


def _text_of(line: NewLine) -> str:
    if line.request is None:
        return line.prompt
    return "\n".join(text_of(message) for message in line.request["messages"])


def _check_length(prompt: str) -> None:
    if len(prompt) > settings.MESSAGE_MAX_CHARS:
        places = {"length": len(prompt), "limit": settings.MESSAGE_MAX_CHARS}
        raise invalid(_("The prompt has %(length)s characters; the limit is %(limit)s.") % places)


def _no_rows(kind: str) -> str:
    if kind in {"csv", "tsv", "xlsx"}:
        return _("The upload has no rows below its first line, which names the columns.")
    return _("The upload has no rows.")
