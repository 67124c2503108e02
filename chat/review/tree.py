"""The tree of a conversation's messages: the branch that is read, and the branches beside it."""

from __future__ import annotations

from dataclasses import dataclass

from chat.models import Conversation

# Messages of one branch beside that are shown in place; a link opens a longer one.
BRANCH_SHOWN = 20


@dataclass(frozen=True, slots=True)
class SideBranch:
    """Another version of a message, with all that follows it. `ids`: the first ones, parents first."""

    first_id: int
    ids: list[int]
    count: int
    # The newest message at its end, which opens the branch as the one that is read.
    end_id: int

    @property
    def has_more(self) -> bool:
        return self.count > len(self.ids)


class MessageTree:
    """The ids of all messages of a conversation, in the order of creation, without their text."""

    def __init__(self, conversation: Conversation) -> None:
        pairs = conversation.messages.order_by("pk").values_list("pk", "parent_id")
        self.parent_of: dict[int, int | None] = dict(pairs)
        self._children: dict[int | None, list[int]] = {}
        for pk, parent_id in self.parent_of.items():
            self._children.setdefault(parent_id, []).append(pk)

    def __len__(self) -> int:
        return len(self.parent_of)

    def siblings(self, pk: int) -> list[int]:
        """Return all versions of a message, itself included, oldest first."""
        return self._children[self.parent_of[pk]]

    def path(self, end: int | None) -> list[int]:
        """Return the messages from the root to `end`, which may be unknown: then there are none."""
        found: dict[int, None] = {}
        while end is not None and end in self.parent_of and end not in found:
            found[end] = None
            end = self.parent_of[end]
        return list(found)[::-1]

    def newest_end(self, pk: int) -> int:
        """Return the newest leaf below a message, or the message itself."""
        while below := self._children.get(pk):
            pk = below[-1]
        return pk

    def branch_to_read(self, leaf: int | None, wanted: int | None) -> tuple[list[int], bool]:
        """Return the branch to read, and whether it is the one that the user sees.

        It is the shown branch, unless the wanted message is on another one.
        """
        shown = self.path(leaf)
        if wanted is None or wanted not in self.parent_of or wanted in shown:
            return shown or self.path(max(self.parent_of, default=None)), True
        return self.path(self.newest_end(wanted)), False

    def beside(self, pk: int) -> list[SideBranch]:
        """Return the branches of the other versions of a message."""
        return [self._side_branch(sibling) for sibling in self.siblings(pk) if sibling != pk]

    def _side_branch(self, first: int) -> SideBranch:
        ids: list[int] = []
        stack, count = [first], 0
        while stack:
            pk = stack.pop()
            count += 1
            if len(ids) < BRANCH_SHOWN:
                ids.append(pk)
            stack += reversed(self._children.get(pk, []))
        return SideBranch(first, ids, count, self.newest_end(first))
