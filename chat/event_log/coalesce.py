"""Join neighbouring deltas, thinking or pieces of a tool call of one log into fewer, larger events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chat import events

# Joined text is cut into events of at most this many characters; each becomes one websocket frame.
EVENT_MAX_CHARS = 64 * 1024


def coalesce(log_events: Iterable[events.Event]) -> Iterator[events.Event]:
    """Join neighbouring events of one kind into events of at most EVENT_MAX_CHARS.

    The kinds are deltas, deltas of a refusal, thinking, and pieces of one tool call.
    """
    first: events.Delta | events.Thinking | events.ToolCall | None = None
    texts: list[str] = []
    for event in log_events:
        if isinstance(event, events.Delta):  # nearly every event
            if not isinstance(first, events.Delta) or first.is_refusal is not event.is_refusal:
                yield from _joined(first, texts)
                first, texts = event, []
            texts.append(event.text)
        elif isinstance(event, events.Thinking):
            if not isinstance(first, events.Thinking):
                yield from _joined(first, texts)
                first, texts = event, []
            texts.append(event.text)
        elif isinstance(event, events.ToolCall):
            if not isinstance(first, events.ToolCall) or first.index != event.index or event.id:
                yield from _joined(first, texts)
                first, texts = event, []
            texts.append(event.arguments)
        else:
            yield from _joined(first, texts)
            first, texts = None, []
            yield event
    yield from _joined(first, texts)


def _joined(
    first: events.Delta | events.Thinking | events.ToolCall | None, texts: list[str]
) -> Iterator[events.Event]:
    """Yield the events of some texts, of the kind of the first one."""
    text = "".join(texts)
    slices = [text[start : start + EVENT_MAX_CHARS] for start in range(0, len(text), EVENT_MAX_CHARS)]
    match first:
        case events.Delta(is_refusal=is_refusal):
            yield from (events.Delta(each, is_refusal) for each in slices)
        case events.Thinking():
            yield from map(events.Thinking, slices)
        case events.ToolCall(index, id, name):
            yield events.ToolCall(index, id, name, slices[0] if slices else "")
            yield from (events.ToolCall(index, arguments=each) for each in slices[1:])
