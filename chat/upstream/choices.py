"""Reading of all choices of an answer, for a request with `n` above 1 or `logprobs`.

Their texts and log probabilities are passed on as the endpoint sends them. Such an answer cannot be
recovered, so half of one must never look complete: the finish reasons are passed on at the end, once all
choices have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chat.events import ChoicePiece, Choices
from chat.text import clean, clean_json
from chat.upstream import errors
from chat.upstream.finish_reasons import Ending, ending_of, reason_in
from chat.upstream.tool_calls import ToolCallReader
from chat.upstream.types import StreamChoice, StreamDelta

# Stored with the attempt.
FEWER_CHOICES = "The endpoint sent %(sent)d of %(asked)d choices."


@dataclass(slots=True)
class _OpenChoice:
    # None: no tools were offered.
    calls: ToolCallReader | None
    finish_reason: str | None = None
    # Whether text came after the finish reason.
    goes_on: bool = False

    @property
    def is_finished(self) -> bool:
        return self.finish_reason is not None and not self.goes_on


class ChoicesReader:
    """Turns the choices of the chunks of one answer into pieces."""

    def __init__(self, count: int, *, has_tools: bool) -> None:
        """`count`: how many choices were asked for; others are left out."""
        self._count = count
        self._has_tools = has_tools
        self._choices: dict[int, _OpenChoice] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all choices have come, each with its finish reason."""
        are_finished = all(choice.is_finished for choice in self._choices.values())
        return are_finished and len(self._choices) == self._count

    @property
    def note(self) -> str:
        """What staff should know; empty if all choices came."""
        sent = len(self._choices)
        return FEWER_CHOICES % {"sent": sent, "asked": self._count} if sent < self._count else ""

    def feed(self, choices: Sequence[StreamChoice]) -> list[ChoicePiece]:
        """Return the pieces in the choices of a chunk. Raises Malformed."""
        pieces = (self._piece_of(choice) for choice in choices if 0 <= choice.index < self._count)
        return [piece for piece in pieces if piece is not None]

    def _piece_of(self, choice: StreamChoice) -> ChoicePiece | None:
        known = self._choices.get(choice.index)
        if known is None:
            known = self._choices[choice.index] = _OpenChoice(ToolCallReader() if self._has_tools else None)
        delta = choice.delta or StreamDelta()
        calls = known.calls.feed(delta.tool_calls) if known.calls and delta.tool_calls else []
        piece = ChoicePiece(
            choice.index,
            clean(delta.content or ""),
            clean(delta.reasoning_content or delta.reasoning or ""),
            clean(delta.refusal or ""),
            calls,
            _logprobs_of(choice.logprobs),
        )
        has_news = bool(piece.text or piece.thinking or piece.refusal or calls or piece.logprobs)
        reason = reason_in(choice.finish_reason)
        if reason is not None:
            known.finish_reason, known.goes_on = reason, False
        elif has_news:
            known.goes_on = known.finish_reason is not None
        return piece if has_news else None

    def end(self, *, may_lack_reasons: bool, may_be_fewer: bool) -> Choices:
        """Return the last pieces, with the finish reasons.

        `may_lack_reasons`: the endpoint ended its answer and sends no reasons. `may_be_fewer`: it ended its
        answer. Raises Cut and UnknownFinishReason if a choice is not complete.
        """
        if not may_be_fewer and not self.is_whole:
            raise errors.Cut(f"{len(self._choices)} of {self._count} choices")
        return Choices([self._last_piece(index, may_lack_reasons) for index in sorted(self._choices)])

    def _last_piece(self, index: int, may_lack_reason: bool) -> ChoicePiece:
        choice = self._choices[index]
        calls = choice.calls
        reason = choice.finish_reason
        if reason is None and may_lack_reason and (calls is None or calls.is_whole):
            reason = Ending.COMPLETE.value
        if reason is None:
            raise errors.Cut(f"choice {index} without a finish reason")
        ending = ending_of(reason)
        if ending is Ending.FAILED:
            raise errors.Cut(f"finish reason {reason} of choice {index}")
        if ending is Ending.UNKNOWN:
            raise errors.UnknownFinishReason(reason[:40])
        rest = calls.end() if calls is not None and ending is not Ending.LENGTH else []
        if ending in (Ending.COMPLETE, Ending.TOOL_CALLS):
            has_calls = calls is not None and calls.has_calls
            ending = Ending.TOOL_CALLS if has_calls else Ending.COMPLETE
        return ChoicePiece(index, tool_calls=rest, finish_reason=ending.value)


def _logprobs_of(value: Any) -> dict[str, Any] | None:
    """Return the log probabilities in a field of any type; None if there are none."""
    if not isinstance(value, dict) or not any(value.values()):
        return None
    # Encoding makes null of NaN and infinite numbers, which JSON and databases do not have.
    cleaned: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(clean_json(value)))
    return cleaned
