"""The turns of a conversation that a model is sent: they alternate, begin and end with the user's.

A question can be without an answer: the call failed, it was stopped before the first word, or the model only
reasoned. The next question then joins it as one turn, because the user sees both on the page. Many chat
templates refuse two turns of one side in a row, and with them every later question of the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Any

from chat.generation.attached import Content
from chat.models.generation import Generation
from chat.models.message import Message
from chat.upstream import errors

# A question that ended like this is not joined to the next one: the provider would refuse that, too.
REFUSED_CODES = (errors.Rejected.code, errors.ContextTooLong.code, errors.ContentFiltered.code)


def is_blank(message: Message) -> bool:
    return not message.text.strip() and not message.attachment_tokens


def without_refused(history: Sequence[Message]) -> list[Message]:
    """Return `history` without the questions that a provider refused because of what they say.

    At most one query; none if every question has an answer.
    """
    unanswered = {
        answer.pk: question.pk
        for question, answer in pairwise(history)
        if question.role == Message.Role.USER and is_blank(answer)
    }
    if not unanswered:
        return list(history)
    left_out = {unanswered[pk] for pk in _refused(unanswered)}
    return [message for message in history if message.pk not in left_out]


def follows_unanswered(question: Message) -> bool:
    """Return whether the question before this one had no answer, so that both are one turn."""
    answer = question.parent
    return answer is not None and is_blank(answer) and not _refused([answer.pk])


def _refused(answer_ids: Iterable[int]) -> list[int]:
    """Return the ids of those answers that the provider refused to give."""
    refused = Generation.objects.filter(message__in=list(answer_ids), error_code__in=REFUSED_CODES)
    return list(refused.values_list("message_id", flat=True))


def alternating(
    messages: Iterable[Message], contents: Mapping[int, Content] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Return `messages` as turns in OpenAI's format, those of one side in a row joined.

    `contents`: what is sent instead of the text of messages with files. A text that is the same as the one
    before it, such as a question sent again, is not repeated.
    """
    return [
        {"role": role, "content": _joined([contents.get(each.pk) or Content(each.text) for each in group])}
        for role, group in groupby(messages, key=lambda message: str(message.role))
    ]


def _joined(contents: list[Content]) -> str | list[dict[str, Any]]:
    distinct = [each for each, _same in groupby(contents)]
    text = "\n\n".join(text for text, _same in groupby(each.text for each in distinct))
    pictures = [picture for each in distinct for picture in each.pictures]
    if not pictures:
        return text
    return [*([{"type": "text", "text": text}] if text else ()), *pictures]
