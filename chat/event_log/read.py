"""Read a log back from the database: its rows, the text they add up to, and its removal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
from channels.db import database_sync_to_async
from django.db.models import Max, QuerySet
from django.db.models.functions import Length

from chat import events
from chat.event_log.lease import LogRow
from chat.models.attachment import Attachment
from chat.models.generation import Generation
from chat.models.logged_event import LoggedEvent

# What is read from the database at a time: so many rows, and of large rows so many characters (or one row).
# A slow follower holds one such page in memory.
READ_ROWS = 500
READ_CHARS = 128 * 1024


@dataclass(frozen=True, slots=True)
class ReplayedText:
    """Text, thinking, tool calls and pictures of a running generation up to `seq`."""

    seq: int = 0
    text: str = ""
    thinking: str = ""
    tool_calls: Sequence[events.WholeToolCall] = ()
    is_refusal: bool = False
    # Of a request with `n` above 1 or `logprobs`.
    choices: Sequence[events.ChoicePiece] = ()
    images: Sequence[events.Image] = ()


def replay(generation_id: int, *, prefix: str = "") -> ReplayedText:
    """Read a generation's log and return its text so far, after `prefix`."""
    return fold(_all_rows(generation_id), prefix)


async def areplay(generation_id: int, *, prefix: str = "") -> ReplayedText:
    """`replay` for async callers."""
    found: ReplayedText = await database_sync_to_async(replay)(generation_id, prefix=prefix)
    return found


def fold(rows: Iterable[LogRow], prefix: str = "") -> ReplayedText:
    """Return the text, the tool calls and the pictures that a reader of these rows sees."""
    seq = 0
    text, thinking = [prefix], [""]
    calls: list[events.ToolCall] = []
    choices: list[events.ChoicePiece] = []
    images: list[events.Image] = []
    is_refusal = False
    for row in rows:
        seq = row.seq
        event = events.decode(row.payload)
        if isinstance(event, events.Delta):
            text.append(event.text)
            is_refusal = is_refusal or event.is_refusal
        elif isinstance(event, events.Thinking):
            thinking.append(event.text)
        elif isinstance(event, events.ToolCall):
            calls.append(event)
        elif isinstance(event, events.Choices):
            choices += event.pieces
        elif isinstance(event, events.Image):
            images.append(event)
        elif isinstance(event, events.Restarted):
            text, thinking, calls, images, is_refusal = [prefix], [""], [], [], False
    whole_calls = tuple(events.whole_tool_calls(calls))
    whole = ("".join(text), "".join(thinking), whole_calls, is_refusal, tuple(choices), tuple(images))
    return ReplayedText(seq, *whole)


def rows_after(generation_id: int, seq: int) -> list[LogRow]:
    """Return the next page of rows above `seq`, not more than may be held in memory for a slow reader."""
    rows = LoggedEvent.objects.filter(generation_id=generation_id, seq__gt=seq).order_by("seq")
    chars, last = 0, 0
    for row_seq, size in rows.annotate(size=Length("payload")).values_list("seq", "size")[:READ_ROWS]:
        chars += size
        if last and chars > READ_CHARS:
            break
        last = row_seq
    found = rows.filter(seq__lte=last).values_list("seq", "payload")
    return [LogRow(row_seq, payload.encode()) for row_seq, payload in found]


def snapshot_after(generation_id: int, seq: int) -> tuple[LogRow | None, bool]:
    """Return a snapshot if the generation is final, and whether the generation exists at all."""
    # The request is not read: it may have megabytes, and this is called at every poll.
    status = Generation.objects.filter(pk=generation_id).values_list("status", flat=True).first()
    if status is None:
        return None, False
    if status in Generation.ACTIVE:
        return None, True
    generation = (
        Generation.objects.filter(pk=generation_id)
        .values_list(
            "status",
            "message__text",
            "message__thinking",
            "finish_reason",
            "error_code",
            "error_message",
            "message__tool_calls",
            "message__is_refusal",
            "message_id",
            "message__attachment_tokens",
        )
        .first()
    )
    if generation is None:  # deleted in between
        return None, False
    status, text, thinking, finish_reason, code, message, calls, is_refusal, pk, attachment_tokens = (
        generation
    )
    tool_calls = msgspec.convert(calls or [], list[events.WholeToolCall])
    images = images_of(pk) if attachment_tokens else []
    ended = (status, text, thinking, finish_reason, code, message)
    snapshot = events.Snapshot(*ended, tool_calls, is_refusal, images)
    return LogRow(seq + 1, events.encode(snapshot)), True


def images_of(message_id: int) -> list[events.Image]:
    """Return the pictures of an answer that is final."""
    found = Attachment.objects.filter(uses__message=message_id).order_by("uses__position")
    return [image_of(each) for each in found]


def image_of(attachment: Attachment) -> events.Image:
    """Return an attachment of an answer as its event told it."""
    is_kept = attachment.content_id is not None
    problem = "" if is_kept else " ".join(attachment.notes)
    return events.Image(
        str(attachment.pk),
        attachment.name,
        attachment.width or 0,
        attachment.height or 0,
        problem,
        "" if is_kept else attachment.text,
    )


def last_restart(generation_id: int) -> int:
    """Return the seq of the last restart that made void what was shown before it; 0 if there is none."""
    restarts = LoggedEvent.objects.filter(
        generation_id=generation_id, payload__startswith='{"type":"restarted"'
    )
    # Its text returns as reasoning.
    kept = events.encode(events.Restarted(events.BECAME_REASONING)).decode()
    return restarts.exclude(payload=kept).aggregate(last=Max("seq"))["last"] or 0


def prune(generation_id: int, rows: int | None = None) -> int:
    """Delete a log, or its last `rows` rows; return how many rows were deleted.

    The last rows go first: a follower of a final generation without its last row receives a snapshot.
    """
    log = LoggedEvent.objects.filter(generation_id=generation_id)
    if rows is not None:
        last = log.aggregate(last=Max("seq"))["last"] or 0
        log = log.filter(seq__gt=last - rows)
    return log.delete()[0]


def prune_all(generations: QuerySet[Generation]) -> None:
    """Delete the logs of these generations."""
    logged = generations.filter(has_log=True)
    for generation_id in list(logged.values_list("pk", flat=True)):
        prune(generation_id)
    logged.update(has_log=False)


def _all_rows(generation_id: int) -> Iterator[LogRow]:
    after = 0
    while rows := rows_after(generation_id, after):
        yield from rows
        after = rows[-1].seq
