"""Join neighbouring deltas of one log into fewer, larger events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from chat import events

# Joined text is cut into events of at most this many characters; each becomes one websocket frame.
EVENT_MAX_CHARS = 64 * 1024


def coalesce(log_events: Iterable[events.Event]) -> Iterator[events.Event]:
    """Join neighbouring deltas (and neighbouring thinking) into events of at most EVENT_MAX_CHARS."""
    kind: type[events.Delta | events.Thinking] | None = None
    texts: list[str] = []
    for event in log_events:
        if isinstance(event, events.Delta | events.Thinking):
            if type(event) is not kind:
                yield from _joined(kind, texts)
                kind, texts = type(event), []
            texts.append(event.text)
        else:
            yield from _joined(kind, texts)
            kind, texts = None, []
            yield event
    yield from _joined(kind, texts)


def _joined(kind: type[events.Delta | events.Thinking] | None, texts: list[str]) -> Iterator[events.Event]:
    if kind is None:
        return
    text = "".join(texts)
    for start in range(0, len(text), EVENT_MAX_CHARS):
        yield kind(text[start : start + EVENT_MAX_CHARS])
