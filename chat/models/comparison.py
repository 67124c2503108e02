"""Comparisons: the answers of several models to one question, and which one the user preferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.errors import RequestRefused
from chat.models.attachment import Attachment
from chat.models.conversation import Conversation
from chat.models.generation import Generation, StartedGeneration
from chat.models.message import Message
from chat.models.model_choice import choose_model

MODELS_MIN, MODELS_MAX = 2, 4


class Comparison(models.Model):
    """Answers to one question that are shown side by side until the user chooses one.

    Each answer is a message with a generation of its own, as any other; together they are versions of one
    answer. A conversation that goes on without a choice follows the first one, and no preference is stored.
    """

    question = models.OneToOneField("chat.Message", models.CASCADE, related_name="comparison")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="comparisons")
    # The ids of the answers, in the order in which they are shown.
    answers = models.JSONField(gettext_lazy("answers"), default=list, editable=False)
    chosen = models.ForeignKey(
        "chat.Message",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=gettext_lazy("preferred answer"),
    )
    # With `chosen` null: the user found none better than the others. Null: not decided yet.
    decided_at = models.DateTimeField(gettext_lazy("decided"), null=True, blank=True)
    created_at = models.DateTimeField(gettext_lazy("created"), default=timezone.now)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"comparison of {len(self.answers)} answers"

    class Verdict(models.TextChoices):
        PREFERRED = "preferred", gettext_lazy("preferred")
        REJECTED = "rejected", gettext_lazy("another answer was preferred")
        TIE = "tie", gettext_lazy("no preference")
        OPEN = "open", gettext_lazy("compared, not decided")

    def verdict_on(self, message_id: int) -> Comparison.Verdict:
        """Return what the user decided about one of the answers."""
        if self.decided_at is None:
            return self.Verdict.OPEN
        if self.chosen_id is None:
            return self.Verdict.TIE
        return self.Verdict.PREFERRED if message_id == self.chosen_id else self.Verdict.REJECTED

    @classmethod
    def verdicts(cls, **of: Any) -> dict[int, Comparison.Verdict]:
        """Return the verdicts on all answers of the comparisons that `of` selects, by message id."""
        found = cls.objects.filter(**of)
        return {pk: comparison.verdict_on(pk) for comparison in found for pk in comparison.answers}

    @classmethod
    @transaction.atomic
    def ask(
        cls, user: AbstractUser, text: str, *, client_id: str, model_ids: Sequence[int | None], **where: Any
    ) -> StartedGeneration:
        """Store a user's message, and an empty answer and a queued generation for each of 2 to 4 models.

        `where`: the further parameters of `Conversation.ask`, but `model_id`. It counts as one message and
        one running answer when it is checked against the user's limits. Returns the first answer, with
        `others`. Raises as `Conversation.ask`; `malformed` for other numbers of models.
        """
        if not MODELS_MIN <= len(set(model_ids)) == len(model_ids) <= MODELS_MAX:
            raise RequestRefused("malformed", _("Choose two to four different models to compare."))
        first, *further = model_ids
        started = Conversation.ask(user, text, client_id=client_id, model_id=first, **where)
        if started.is_repeat:
            return started
        question = Message.objects.select_related("conversation").get(pk=started.user_message_id)
        source = where.get("source", Generation.Source.WEBSOCKET)
        add = partial(question.conversation.add_version, user, question, source=source)
        models = [choose_model(model_id) for model_id in further]
        for model in models:
            Attachment.check_seen(where.get("attachments", ()), model)
        others = tuple(
            add(model, client_id=f"compared-{question.pk}-{number}") for number, model in enumerate(models, 2)
        )
        answers = [started.message_id, *(other.message_id for other in others)]
        cls.objects.create(question=question, user=user, answers=answers)
        # The first one is the branch that is shown.
        question.conversation.select(Message(pk=started.message_id))
        return replace(started, others=others)

    @classmethod
    def open_at(cls, message: Message) -> Comparison | None:
        """Return the undecided comparison that this answer is part of, or None."""
        if message.parent_id is None:
            return None
        found = cls.objects.filter(question=message.parent_id, decided_at=None).first()
        return found if found is not None and message.pk in found.answers else None

    @classmethod
    @transaction.atomic
    def decide(cls, user: AbstractUser, message_id: int, *, is_tie: bool = False) -> Message:
        """Go on with this answer, and store it as the preferred one; not if `is_tie`.

        The conversation uses the model of the answer from now on. Raises RequestRefused: `not_found`,
        `bad_parent` if the answer is in no undecided comparison, `busy` if it is still being written.
        """
        message = Message.get_for(user, message_id)
        comparison = cls.open_at(message)
        if comparison is None:
            raise RequestRefused("bad_parent", _("This answer is not being compared. Reload the page."))
        message.check_can_be_followed()
        comparison.chosen = None if is_tie else message
        comparison.decided_at = timezone.now()
        comparison.save(update_fields=["chosen", "decided_at"])
        conversation = message.conversation
        conversation.select(message)
        last = message.generations.order_by("-pk").first()
        if not is_tie and last is not None and last.model_id:
            conversation.model_id = last.model_id
            conversation.save(update_fields=["model"])
        return message
