"""Retention: how long conversations are kept, what must be kept all the same, and what went."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from chat.models.conversation import Conversation
from chat.models.conversation_summary import ConversationSummary
from chat.models.generation import Generation

DAYS_MAX = 36_500


class LegalHoldQuerySet(models.QuerySet["LegalHold"]):
    def active(self) -> LegalHoldQuerySet:
        return self.filter(released_at=None)

    def held(self) -> Q:
        """Return the condition that a conversation is under a hold, itself or with its user."""
        active = self.active()
        return Q(pk__in=active.filter(conversation__isnull=False).values("conversation")) | Q(
            user__in=active.filter(user__isnull=False).values("user")
        )


class LegalHold(models.Model):
    """Keeps one conversation, or all of one user, from being erased by anyone until it is released."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="legal_holds"
    )
    conversation = models.ForeignKey(
        "chat.Conversation", models.CASCADE, null=True, blank=True, related_name="legal_holds"
    )
    reason = models.CharField(_("reason"), max_length=500)
    author_name = models.CharField(_("author"), max_length=150, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    released_at = models.DateTimeField(_("released"), null=True, blank=True, editable=False)
    released_by_name = models.CharField(_("released by"), max_length=150, blank=True, editable=False)

    objects = LegalHoldQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = _("legal hold")
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, conversation__isnull=False) | Q(user__isnull=False, conversation=None),
                name="hold_of_one_thing",
                violation_error_message=_("Choose a user or a conversation, not both."),
            )
        ]

    def __str__(self) -> str:
        return f"hold on {self.user or self.conversation}"


class RetentionPolicy(models.Model):
    """How long conversations of a group, or of users without a policy of their groups, are kept.

    A user of several groups is kept by the policy with the most days.
    """

    class Kind(models.TextChoices):
        CHAT = "chat", _("chat")
        PROGRAMS = "programs", _("programs (API and batch)")

    class Action(models.TextChoices):
        ERASE = "erase", _("erase whole conversations")
        TEXT = "text", _("erase the text, keep figures and verdicts")

    group = models.ForeignKey(
        "auth.Group",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="retention_policies",
        help_text=_("Empty: users of no group with a policy."),
    )
    kind = models.CharField(_("conversations of"), max_length=10, choices=Kind, default=Kind.CHAT)
    days = models.PositiveIntegerField(
        _("days since the last message"), validators=[MinValueValidator(1)], default=365
    )
    action = models.CharField(_("then"), max_length=10, choices=Action, default=Action.ERASE)
    is_active = models.BooleanField(_("in use"), default=True)

    class Meta:
        ordering = ["kind", "group__name", "pk"]
        verbose_name = _("retention policy")
        verbose_name_plural = _("retention policies")
        constraints = [
            models.UniqueConstraint(fields=["group", "kind"], name="one_policy_per_group_and_kind"),
            models.UniqueConstraint(
                fields=["kind"], condition=Q(group=None), name="one_policy_for_all_others"
            ),
        ]

    def __str__(self) -> str:
        whose = self.group.name if self.group is not None else _("everybody else")
        return f"{self.get_kind_display()}, {whose}: {self.days} days"

    def due(self, now: datetime | None = None) -> models.QuerySet[Conversation]:
        """Return the conversations that this policy ends, without those under a hold or being answered."""
        before = (now or timezone.now()) - timedelta(days=min(self.days, DAYS_MAX))
        rows = Conversation.objects.filter(
            updated_at__lt=before, is_hidden=self.kind == self.Kind.PROGRAMS, erasure=None, deleted_at=None
        )
        rows = rows.exclude(LegalHold.objects.held()).exclude(
            pk__in=Generation.objects.active().values("message__conversation")
        )
        others = RetentionPolicy.objects.filter(kind=self.kind, is_active=True, group__isnull=False)
        if self.group_id is None:
            rows = rows.exclude(user__groups__in=others.values("group"))
        else:
            longer = others.filter(Q(days__gt=self.days) | Q(days=self.days, pk__gt=self.pk))
            rows = rows.filter(user__groups=self.group_id).exclude(user__groups__in=longer.values("group"))
        if self.action == self.Action.TEXT:
            done = ConversationSummary.objects.filter(text_erased_at__isnull=False)
            rows = rows.exclude(pk__in=done.values("pk"))
        return rows.order_by("updated_at")


class RetentionReport(models.Model):
    """What one policy erased on one day."""

    day = models.DateField(_("day"))
    policy = models.CharField(_("policy"), max_length=250)
    action = models.CharField(_("action"), max_length=10, choices=RetentionPolicy.Action)
    conversations = models.PositiveIntegerField(_("conversations"), default=0)
    messages_count = models.PositiveIntegerField(_("messages"), default=0)

    class Meta:
        ordering = ["-day", "policy"]
        verbose_name = _("retention report")
        constraints = [models.UniqueConstraint(fields=["day", "policy", "action"], name="one_report_per_day")]

    def __str__(self) -> str:
        return f"{self.day}: {self.policy}"

    @classmethod
    def add(cls, policy: RetentionPolicy, conversations: int, messages: int) -> None:
        """Count what a policy has erased just now."""
        row, _is_new = cls.objects.get_or_create(
            day=timezone.localdate(), policy=str(policy)[:250], action=policy.action
        )
        cls.objects.filter(pk=row.pk).update(
            conversations=F("conversations") + conversations, messages_count=F("messages_count") + messages
        )
