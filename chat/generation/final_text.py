"""Put together what a message says in the end."""

from __future__ import annotations

from chat import rendering
from chat.event_log.lease import Lease
from chat.event_log.log import EventLog
from chat.event_log.read import ReplayedText
from chat.generation.long_answer import store_in_slices
from chat.generation.outcome import FinalText
from chat.generation.text_buffer import TextBuffer
from chat.models.generation import Generation
from chat.models.long_text import SlicedText


async def final_text(
    generation: Generation, text: TextBuffer, log: EventLog, lease: Lease | None
) -> FinalText:
    """Return what the message of an answer says in the end; a very long text is stored in slices first.

    `lease`: None if the lease has failed. Then only what readers can have seen counts. Raises LeaseLost.
    """
    prefix = generation.prefix
    answer: str | SlicedText
    if lease is not None and text.is_long:
        await text.written()
        source: TextBuffer | ReplayedText = text
        answer, thinking = await store_in_slices(
            log, lease, generation.message_id, prefix=prefix, expected_chars=text.chars
        )
    else:
        source = read = await (text.committed() if lease is None else text.read())
        answer, thinking = prefix + read.text, read.thinking
    html = "" if isinstance(answer, SlicedText) else await rendering.arender(answer)
    beside = (source.tool_calls, source.is_refusal, source.choices, source.images)
    return FinalText(answer, thinking, html, *beside)
