"""The transcript of a conversation, as reviewers see it: all messages of all branches."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.paginator import Page, Paginator

from chat.models import Conversation, Generation, Message

MESSAGES_PER_PAGE = 50


@dataclass(frozen=True, slots=True)
class ReviewedMessage:
    """A message, its newest generation, and its position in the tree."""

    message: Message
    generation: Generation | None
    is_shown: bool
    version: int
    versions: int
    follows_previous: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    messages: list[ReviewedMessage]
    page: Page[int]


class _Tree:
    """The ids of all messages of a conversation. Reading them takes one query."""

    def __init__(self, conversation: Conversation) -> None:
        pairs = conversation.messages.order_by("pk").values_list("pk", "parent_id")
        self.parent_of: dict[int, int | None] = dict(pairs)
        self.children: dict[int | None, list[int]] = {}
        for pk, parent_id in self.parent_of.items():
            self.children.setdefault(parent_id, []).append(pk)
        self.shown = self._branch(conversation.leaf_id)

    def _branch(self, end: int | None) -> set[int]:
        found: set[int] = set()
        while end is not None and end not in found:
            found.add(end)
            end = self.parent_of.get(end)
        return found

    def page(self, page_number: str, message_id: str) -> Page[int]:
        """Return a page of ids: the one with the message `message_id`, else `page_number`."""
        ids = list(self.parent_of)
        pages = Paginator(ids, MESSAGES_PER_PAGE)
        if message_id.isdecimal() and int(message_id) in self.parent_of:
            return pages.get_page(ids.index(int(message_id)) // MESSAGES_PER_PAGE + 1)
        return pages.get_page(page_number)


def transcript(conversation: Conversation, page_number: str, message_id: str) -> Transcript:
    """Return one page of all messages, oldest first. Only the messages of the page are read with text."""
    tree = _Tree(conversation)
    page = tree.page(page_number, message_id)
    messages = conversation.messages.in_bulk(list(page))
    newest_last = Generation.objects.filter(message__in=list(page)).order_by("pk").defer("prefix", "request")
    generation_of = {generation.message_id: generation for generation in newest_last}
    reviewed: list[ReviewedMessage] = []
    previous: int | None = None
    for pk in page:
        siblings = tree.children[tree.parent_of[pk]]
        reviewed.append(
            ReviewedMessage(
                message=messages[pk],
                generation=generation_of.get(pk),
                is_shown=pk in tree.shown,
                version=siblings.index(pk) + 1,
                versions=len(siblings),
                follows_previous=previous is None or tree.parent_of[pk] == previous,
            )
        )
        previous = pk
    return Transcript(reviewed, page)
