"""Open a result of a batch as a conversation that its user can continue."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.batch_line import BatchLine
from chat.models.conversation import Conversation
from chat.rendering import render
from chat.text import text_of


@transaction.atomic
def open_line(line: BatchLine) -> Conversation:
    """List the conversation of a line, and return it. Raises RequestRefused `not_found`."""
    generation = line.generation
    if generation is None or line.state != BatchLine.State.COMPLETED:
        raise RequestRefused("not_found", _("There is no answer yet."))
    conversation = generation.message.conversation
    if conversation.deleted_at is not None:
        raise RequestRefused("not_found", _("The answer was deleted."))
    if conversation.is_hidden:
        request = line.batch.request_of(line)
        system = [text_of(each) for each in request.messages if each.get("role") == "system"]
        conversation.is_hidden = False
        conversation.system_prompt = "\n\n".join(system)[:20_000]
        conversation.save(update_fields=["is_hidden", "system_prompt"])
        answer = generation.message
        if answer.text and not answer.html:
            answer.html = render(answer.text)
            answer.save(update_fields=["html"])
        conversation.messages.all().reindex()
    return conversation
