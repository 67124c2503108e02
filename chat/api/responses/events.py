"""From the rows of a generation's log to the events of its response: a pure function, and its numbers.

Events are numbered from 0, in the order in which the committed rows make them. Whoever reads the same rows,
in any process and at any time, gets the same events with the same numbers. So a client can leave a stream at
any event and continue behind it.

A restart begins the answer again after some of it was shown. It is an event (and a number) of its own,
RESTARTED, which no client is sent as it is; new opening events follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from chat import events
from chat.api.responses import schemas as wire
from chat.api.responses.ids import item_id
from chat.api.responses.output import INCOMPLETE, function_call, image, reasoning, text_message
from chat.api.responses.schemas import OutputItem

RESTARTED = "restarted"

type Kind = Literal["reasoning", "message", "refusal", "function_call"]
# Returns the response as it was when it had this status and no output.
type BegunResponse = Callable[[str], wire.ResponseObject]


@dataclass(frozen=True, slots=True)
class ResponseEvent:
    """One event of a response. `values`: its fields beside type and sequence number."""

    number: int
    type: str
    values: dict[str, Any]

    @property
    def payload(self) -> bytes:
        return wire.encode({"type": self.type, "sequence_number": self.number, **self.values})


@dataclass(slots=True)
class _OpenItem:
    """An item that is being written. `place`: its index in the output."""

    kind: Kind
    place: int
    # Its number among the items of its kind.
    number: int
    pieces: list[str] = field(default_factory=list)
    call_id: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ResponseEvents:
    """Folds the rows of one log, from the first, into events."""

    def __init__(self, generation_id: int, begun: BegunResponse, *, is_background: bool) -> None:
        self._generation_id = generation_id
        self._begun = begun
        self._first_status = "queued" if is_background else "in_progress"
        self._next_number = 0
        # Since the last restart that was noticed:
        self._told: set[str] = set()
        self._open: dict[int, _OpenItem] = {}
        # How many items there are, by the beginning of their ids.
        self._counts: Counter[str] = Counter()
        self._places = 0
        self._dropped: set[int] = set()
        self.output: dict[int, OutputItem] = {}
        # In base64, by attachment; None: it was not kept. The caller reads each before its event.
        self.pictures: dict[str, str | None] = {}
        # The number of the first event that says something of the answer.
        self.first_item_number: int | None = None

    @property
    def next_number(self) -> int:
        return self._next_number

    @property
    def items(self) -> list[OutputItem]:
        """The items of the answer, in the order in which they began."""
        return [item for place, item in sorted(self.output.items()) if place not in self._dropped]

    def opening(self) -> list[ResponseEvent]:
        """Return the event that comes before all rows."""
        return [self._lifecycle("response.created", self._first_status)]

    def of(self, event: events.Event) -> list[ResponseEvent]:
        """Return the events that a row makes, but the very last one: see `last`."""
        match event:
            case events.Queued() if "queued" not in self._told and "started" not in self._told:
                self._told.add("queued")
                return [self._lifecycle("response.queued", "queued")]
            case events.Started() if "started" not in self._told:
                self._told.add("started")
                return [self._lifecycle("response.in_progress", "in_progress")]
            case events.Thinking(text):
                return list(self._piece("reasoning", text))
            case events.Delta(text, is_refusal):
                return list(self._piece("refusal" if is_refusal else "message", text))
            case events.ToolCall():
                return list(self._call(event))
            case events.Image():
                return list(self._image(event))
            case events.Restarted(reason):
                return self._restart(reason)
            case events.Completed(finish_reason):
                return list(self._close_all(is_whole=finish_reason not in INCOMPLETE))
            case events.Stopped() | events.Failed() | events.Interrupted():
                return list(self._close_all(is_whole=False))
        return []

    def last(self, response: wire.ResponseObject, *, after: int = -1) -> ResponseEvent:
        """Return the last event, with the response in its final state; its number is greater than `after`."""
        self._next_number = max(self._next_number, after + 1)
        kind = {"completed": "completed", "incomplete": "incomplete"}.get(response.status, "failed")
        return self._event(f"response.{kind}", response=response)

    def short_form(self, snapshot: events.Snapshot) -> list[ResponseEvent]:
        """Return the events of an answer whose log is gone: each item has one delta."""
        made = self.of(events.Started(model=""))
        if snapshot.thinking:
            made += self.of(events.Thinking(snapshot.thinking))
        if snapshot.text:
            made += self.of(events.Delta(snapshot.text, snapshot.is_refusal))
        for index, call in enumerate(snapshot.tool_calls):
            made += self.of(events.ToolCall(index, call.id, call.name, call.arguments))
        for picture in snapshot.images:
            made += self.of(picture)
        is_whole = snapshot.status == "completed"
        return made + self.of(events.Completed(snapshot.finish_reason) if is_whole else events.Stopped())

    # -- one event ----------------------------------------------------------------------------------

    def _event(self, kind: str, **values: Any) -> ResponseEvent:
        made = ResponseEvent(self._next_number, kind, values)
        self._next_number += 1
        return made

    def _lifecycle(self, kind: str, status: str) -> ResponseEvent:
        return self._event(kind, response=self._begun(status))

    # -- items --------------------------------------------------------------------------------------

    def _piece(self, kind: Kind, text: str) -> Iterator[ResponseEvent]:
        """Yield the events of a piece of reasoning or text. Whatever else was open is closed first."""
        item = next((each for each in self._open.values() if each.kind == kind), None)
        if item is None:
            yield from self._close_all(is_whole=True)
            item = self._begin(kind)
            yield from self._added(item)
        item.pieces.append(text)
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        yield self._event(
            f"response.{_TEXT_OF[kind]}.delta",
            **self._part_of(item),
            delta=text,
            **more,
        )

    def _call(self, piece: events.ToolCall) -> Iterator[ResponseEvent]:
        """Yield the events of a piece of a call. Parallel calls may take turns, so all stay open."""
        item = self._open.get(piece.index + 1)
        if item is None:
            if any(each.kind != "function_call" for each in self._open.values()):
                yield from self._close_all(is_whole=True)
            item = self._begin("function_call", key=piece.index + 1)
            item.call_id, item.name = piece.id, piece.name
            yield from self._added(item)
        if piece.arguments:
            item.pieces.append(piece.arguments)
            yield self._event(
                "response.function_call_arguments.delta",
                item_id=self._id_of(item),
                output_index=item.place,
                delta=piece.arguments,
            )

    def _image(self, event: events.Image) -> Iterator[ResponseEvent]:
        """Yield the events of a picture, which comes in one piece."""
        yield from self._close_all(is_whole=True)
        if self.first_item_number is None:
            self.first_item_number = self._next_number
        place, number = self._places, self._counts["ig"]
        self._places += 1
        self._counts["ig"] += 1
        done = self.output[place] = image(self._generation_id, number, self.pictures.get(event.attachment))
        about = {"item_id": done.id, "output_index": place}
        begun = wire.ImageItem(id=done.id, status="in_progress", result=None)
        yield self._event("response.output_item.added", output_index=place, item=begun)
        yield self._event("response.image_generation_call.in_progress", **about)
        yield self._event("response.image_generation_call.completed", **about)
        yield self._event("response.output_item.done", output_index=place, item=done)

    def _begin(self, kind: Kind, key: int = 0) -> _OpenItem:
        if self.first_item_number is None:
            self.first_item_number = self._next_number
        item = _OpenItem(kind, self._places, self._counts[_PREFIX_OF[kind]])
        self._places += 1
        self._counts[_PREFIX_OF[kind]] += 1
        self._open[key] = item
        return item

    def _added(self, item: _OpenItem) -> Iterator[ResponseEvent]:
        added = self._as_item(item, "in_progress")
        yield self._event("response.output_item.added", output_index=item.place, item=added)
        if item.kind != "function_call":
            yield self._event("response.content_part.added", **self._part_of(item), part=_part(item.kind, ""))

    def _close_all(self, *, is_whole: bool) -> Iterator[ResponseEvent]:
        """Yield the ends of all open items. If the answer is not whole, the last one is incomplete."""
        items = sorted(self._open.values(), key=lambda item: item.place)
        self._open = {}
        for item in items:
            is_complete = is_whole or item is not items[-1]
            yield from self._done(item, "completed" if is_complete else "incomplete")

    def _done(self, item: _OpenItem, status: wire.ItemStatus) -> Iterator[ResponseEvent]:
        done = self.output[item.place] = self._as_item(item, status)
        if isinstance(done, wire.FunctionCallItem):
            yield self._event(
                "response.function_call_arguments.done",
                item_id=done.id,
                output_index=item.place,
                name=done.name,
                arguments=done.arguments,
            )
        else:
            more: dict[str, Any] = {"logprobs": []} if item.kind == "message" else {}
            part = self._part_of(item)
            field_name = "refusal" if item.kind == "refusal" else "text"
            text = {field_name: item.text}
            yield self._event(f"response.{_TEXT_OF[item.kind]}.done", **part, **text, **more)
            yield self._event("response.content_part.done", **part, part=_part(item.kind, item.text))
        yield self._event("response.output_item.done", output_index=item.place, item=done)

    def _as_item(self, item: _OpenItem, status: wire.ItemStatus) -> OutputItem:
        match item.kind:
            case "reasoning":
                return reasoning(self._generation_id, item.number, item.text, status)
            case "message" | "refusal":
                is_refusal = item.kind == "refusal"
                return text_message(
                    self._generation_id, item.number, item.text, status, is_refusal=is_refusal
                )
            case _:
                # As with text, what is still to come is not in an item that has just begun.
                arguments = "" if status == "in_progress" else item.text
                call = (item.call_id, item.name, arguments)
                return function_call(self._generation_id, item.number, call, status)

    def _id_of(self, item: _OpenItem) -> str:
        return item_id(_PREFIX_OF[item.kind], self._generation_id, item.number)

    def _part_of(self, item: _OpenItem) -> dict[str, Any]:
        return {"item_id": self._id_of(item), "output_index": item.place, "content_index": 0}

    # -- restarts -----------------------------------------------------------------------------------

    def _restart(self, reason: str) -> list[ResponseEvent]:
        if not self._places:
            return []
        if reason == events.BECAME_REASONING:
            # The same text follows as reasoning. It was sent as a message, which the end leaves out.
            made = list(self._close_all(is_whole=False))
            self._dropped |= set(self.output)
            return made
        marker = self._event(RESTARTED)
        self._told, self._open, self._places = set(), {}, 0
        self._counts.clear()
        self._dropped, self.output, self.first_item_number = set(), {}, None
        self._told.add("started")
        return [marker, *self.opening(), self._lifecycle("response.in_progress", "in_progress")]


_PREFIX_OF = {"reasoning": "rs", "message": "msg", "refusal": "msg", "function_call": "fc"}
_TEXT_OF = {"reasoning": "reasoning_text", "message": "output_text", "refusal": "refusal"}


def _part(kind: Kind, text: str) -> wire.ReasoningText | wire.OutputText | wire.OutputRefusal:
    if kind == "reasoning":
        return wire.ReasoningText(text)
    return wire.OutputRefusal(text) if kind == "refusal" else wire.OutputText(text)
