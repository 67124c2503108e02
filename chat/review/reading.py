"""What a reviewer reads: one page of a transcript, with the details and the marks of each answer."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import F, Prefetch

from chat.event_log.read import ReplayedText, replay
from chat.models import (
    Attachment,
    Attempt,
    Comparison,
    Conversation,
    Feedback,
    Generation,
    Mark,
    Message,
    Redaction,
)
from chat.review.difference import DifferencePart, difference
from chat.review.masking import Mask, mask_json, masked_html
from chat.review.timeline import TimelinePicture, timeline_of
from chat.review.tree import MessageTree, SideBranch

MESSAGES_PER_PAGE = 50
PARAMETERS_SHOWN_CHARS = 4_000
# Differences of discarded texts on one page; each takes some milliseconds.
DIFFERENCES_MAX = 10


@dataclass(frozen=True, slots=True)
class ReviewedAttempt:
    """A call, and how the text that it lost differs from the final one."""

    attempt: Attempt
    discarded: list[DifferencePart]
    # Tool calls that were lost with it, as JSON.
    discarded_calls: str
    error_detail: str


@dataclass(frozen=True, slots=True)
class ReviewedRun:
    """One generation of an answer. `parameters`: those of a program's request, as JSON."""

    generation: Generation
    attempts: list[ReviewedAttempt]
    timeline: TimelinePicture
    parameters: str


@dataclass(frozen=True, slots=True)
class ReviewedMessage:
    """A message as the user saw it, and what reviewers and the user added to it."""

    message: Message
    text: str
    thinking: str
    html: str
    # As JSON; empty if there are none.
    tool_calls: str
    # As JSON, too.
    further_choices: str
    runs: list[ReviewedRun]
    version: int
    versions: int
    marks: list[Mark]
    feedback: list[Feedback]
    redactions: list[Redaction]
    is_active: bool = False
    attachments: Sequence[Attachment] = ()
    # Of an answer that was shown beside others: what the user decided.
    comparison: Comparison.Verdict | None = None
    beside: list[ReviewedBranch] = field(default_factory=list)

    @property
    def is_answer(self) -> bool:
        return self.message.role == Message.Role.ASSISTANT

    @property
    def last_run(self) -> ReviewedRun | None:
        return self.runs[-1] if self.runs else None

    @property
    def fingerprint(self) -> str:
        """A value that changes whenever the message looks different."""
        run = self.last_run
        status = run.generation.status if run else ""
        return f"{status}.{len(self.text)}.{len(self.thinking)}.{self.versions}.{len(self.redactions)}"


@dataclass(frozen=True, slots=True)
class ReviewedBranch:
    branch: SideBranch
    messages: list[ReviewedMessage]


@dataclass(frozen=True, slots=True)
class ReviewedPage:
    """One page of the branch that is read. `is_shown`: whether it is the branch that the user sees."""

    messages: list[ReviewedMessage]
    page: Page[int]
    is_shown: bool
    wanted_id: int | None
    total: int

    @property
    def is_active(self) -> bool:
        return any(message.is_active for message in self.messages)


def read_page(
    conversation: Conversation, *, page_number: str, message_id: str, masks: Mask, marks: list[Mark]
) -> ReviewedPage:
    """Return the page that shows a message, if it exists, else the numbered page.

    The tree is read as pairs of ids, and text only for the page: six queries, one more if a message has
    files, one if it has versions, and one for each answer in progress. `marks`: all of the conversation.
    """
    tree = MessageTree(conversation)
    wanted = int(message_id) if message_id.isdecimal() and int(message_id) in tree.parent_of else None
    branch, is_shown = tree.branch_to_read(conversation.leaf_id, wanted)
    pages = Paginator(branch, MESSAGES_PER_PAGE)
    number = branch.index(wanted) // MESSAGES_PER_PAGE + 1 if wanted is not None else page_number
    page = pages.get_page(number)
    beside = {pk: tree.beside(pk) for pk in page}
    ids = [*page, *(pk for branches in beside.values() for each in branches for pk in each.ids)]
    versions = [pk for pk in ids if len(tree.siblings(pk)) > 1]
    read = _Reading(conversation, ids, masks, marks, versions)
    messages = [
        read.message(
            pk,
            tree.siblings(pk),
            [
                ReviewedBranch(each, [read.message(other, tree.siblings(other)) for other in each.ids])
                for each in beside[pk]
            ],
        )
        for pk in page
    ]
    return ReviewedPage(messages, page, is_shown, wanted, len(tree))


class _Reading:
    """Reads the rows of some messages together, and puts them together message by message."""

    def __init__(
        self,
        conversation: Conversation,
        ids: list[int],
        masks: Mask,
        marks: list[Mark],
        versions: list[int],
    ) -> None:
        """`versions`: those of `ids` that have others beside them."""
        self._masks = masks
        self._differences_left = DIFFERENCES_MAX
        self._runs: dict[int, list[Generation]] = defaultdict(list)
        self._marks: dict[int, list[Mark]] = defaultdict(list)
        self._feedback: dict[int, list[Feedback]] = defaultdict(list)
        self._redactions: dict[int, list[Redaction]] = defaultdict(list)
        generations = Generation.objects.filter(message__in=ids).order_by("pk").defer("prefix", "request")
        attempts = Prefetch("attempts", Attempt.objects.order_by("number"))
        for run in generations.annotate(parameters=F("request__parameters")).prefetch_related(attempts):
            self._runs[run.message_id].append(run)
        # After their generations: the text of an answer that has just ended is complete.
        self._messages = conversation.messages.in_bulk(ids)
        # Names only; a view of its own has the files.
        self._attachments = Attachment.by_message(self._messages.values())
        for files in self._attachments.values():
            for file in files:
                file.name = masks(file.name)
        for mark in marks:
            if mark.message_id is not None:
                self._marks[mark.message_id].append(mark)
        for feedback in Feedback.objects.filter(message__in=ids):
            feedback.comment = masks(feedback.comment)
            self._feedback[feedback.message_id].append(feedback)
        self._comparisons = Comparison.verdicts(question__children__in=versions) if versions else {}
        for redaction in Redaction.objects.filter(conversation=conversation):
            for pk in redaction.messages_changed:
                self._redactions[pk].append(redaction)

    def message(
        self, pk: int, siblings: list[int], beside: list[ReviewedBranch] | None = None
    ) -> ReviewedMessage:
        message = self._messages[pk]
        running = self._replayed(pk)
        text = running.text if running else message.text
        thinking = running.thinking if running else message.thinking
        return ReviewedMessage(
            message=message,
            text=self._masks(text),
            thinking=self._masks(thinking),
            html="" if running else masked_html(self._masks, message.text, message.html),
            tool_calls=self._json(message.tool_calls),
            further_choices=self._json(message.further_choices),
            runs=[self._run(run, message.text) for run in self._runs[pk]],
            version=siblings.index(pk) + 1,
            versions=len(siblings),
            marks=self._marks[pk],
            feedback=self._feedback[pk],
            redactions=self._redactions[pk],
            is_active=running is not None,
            comparison=self._comparisons.get(pk),
            attachments=self._attachments.get(pk, ()),
            beside=beside or [],
        )

    def _replayed(self, pk: int) -> ReplayedText | None:
        runs = self._runs[pk]
        return replay(runs[-1].pk, prefix=runs[-1].prefix) if runs and runs[-1].is_active else None

    def _run(self, generation: Generation, final: str) -> ReviewedRun:
        attempts = list(generation.attempts.all())
        return ReviewedRun(
            generation,
            [
                ReviewedAttempt(
                    attempt,
                    self._difference(attempt.abandoned_text, final) if attempt.abandoned_text else [],
                    self._json(attempt.abandoned_calls),
                    self._masks(attempt.error_detail),
                )
                for attempt in attempts
            ],
            timeline_of(generation, attempts),
            self._json(getattr(generation, "parameters", None)),
        )

    def _difference(self, discarded: str, final: str) -> list[DifferencePart]:
        discarded, final = self._masks(discarded), self._masks(final)
        self._differences_left -= 1
        if self._differences_left < 0:
            return [DifferencePart("removed", discarded)]
        return difference(discarded, final)

    def _json(self, value: Any) -> str:
        if not value:
            return ""
        shown = json.dumps(mask_json(self._masks, value), indent=2, ensure_ascii=False)
        return shown if len(shown) <= PARAMETERS_SHOWN_CHARS else shown[:PARAMETERS_SHOWN_CHARS] + "…"
