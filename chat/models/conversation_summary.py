"""Summaries: one row per conversation with the facts that reviewers filter and sort by.

The transaction that ends an answer adds to it, with one statement.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models import Count, F, Max, Min, Q, Sum
from django.db.models.functions import Substr
from django.utils.translation import gettext_lazy as _

from chat.models.generation import Generation
from chat.models.message import Message
from chat.search.language import READ_CHARS, language_of

# An answer whose first text takes longer is slow.
SLOW_FIRST_TEXT = timedelta(seconds=10)
REFUSED = "content_filter"
FLAGS = ("has_failed", "has_interrupted", "has_recovered", "has_refused", "has_slow")

# A first answer is asked for in the transaction that stores its conversation.
SAME_TRANSACTION = timedelta(seconds=1)

# Written out, because this runs at the end of each answer: the query builder takes ten times as long. Counts
# the messages that are newer than those that were counted, or all of them for a row that has counted none.
_TABLE = "chat_conversationsummary"
_ADD = f"""INSERT INTO {_TABLE}
    (conversation_id, messages_count, last_message_id, cost_usd, duration_s, source, language,
    {", ".join(FLAGS)})
    SELECT %s, COUNT(*), COALESCE(MAX(id), 0), CAST(%s AS numeric), %s, %s, %s,
    {", ".join(["%s"] * len(FLAGS))}
    FROM chat_message WHERE conversation_id = %s AND id > COALESCE(
        (SELECT last_message_id FROM {_TABLE} WHERE conversation_id = %s), 0)
    ON CONFLICT (conversation_id) DO UPDATE SET
    messages_count = excluded.messages_count
        + CASE WHEN {_TABLE}.last_message_id = 0 THEN 0 ELSE {_TABLE}.messages_count END,
    last_message_id = CASE WHEN excluded.last_message_id = 0 THEN {_TABLE}.last_message_id
        ELSE excluded.last_message_id END,
    cost_usd = {_TABLE}.cost_usd + excluded.cost_usd,
    duration_s = {_TABLE}.duration_s + excluded.duration_s,
    language = CASE WHEN {_TABLE}.language = '' THEN excluded.language ELSE {_TABLE}.language END,
    {", ".join(f"{name} = ({_TABLE}.{name} OR excluded.{name})" for name in FLAGS)}"""  # noqa: S608


class ConversationSummary(models.Model):
    """What happened in a conversation. Costs and durations are sums over its finished answers."""

    conversation = models.OneToOneField(
        "chat.Conversation", models.CASCADE, primary_key=True, related_name="summary"
    )
    messages_count = models.PositiveIntegerField(_("messages"), default=0)
    # The newest of the messages that were counted by `add`; 0: none.
    last_message_id = models.PositiveBigIntegerField(default=0, db_default=0)
    cost_usd = models.DecimalField(_("cost (USD)"), max_digits=14, decimal_places=6, default=0)
    duration_s = models.FloatField(_("duration (s)"), default=0)
    # Of its first answer.
    source = models.CharField(_("source"), max_length=10, choices=Generation.Source)
    # ISO 639; empty: not known.
    language = models.CharField(_("language"), max_length=8, blank=True)
    has_failed = models.BooleanField(default=False)
    has_interrupted = models.BooleanField(default=False)
    has_recovered = models.BooleanField(default=False)
    has_refused = models.BooleanField(default=False)
    has_slow = models.BooleanField(default=False)
    # When a retention policy emptied its texts.
    text_erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["conversation"], condition=Q(**{flag: True}), name=f"summaries_{flag}")
            for flag in FLAGS
        ]

    def __str__(self) -> str:
        return f"summary of {self.conversation_id}"

    @classmethod
    def add(cls, generation: Generation, text: str) -> None:
        """Add a generation that has ended with this text. In the transaction of its end."""
        flags = flags_of(generation)
        key = cls._meta.pk.get_db_prep_value(generation.message.conversation_id, connection)
        values = [
            *(key, str(generation.cost_usd or 0), generation.duration_s or 0.0, generation.source),
            *(_language(generation, text), *(flags[name] for name in FLAGS), key, key),
        ]
        with connection.cursor() as cursor:
            cursor.execute(_ADD, values)


def _language(generation: Generation, text: str) -> str:
    """Return the language of a first answer; empty for others, which would not change it."""
    if not text or generation.created_at - generation.message.conversation.created_at > SAME_TRANSACTION:
        return ""
    return language_of(text)


def flags_of(generation: Generation) -> dict[str, bool]:
    first_text_after = (generation.first_delta_at or generation.created_at) - generation.created_at
    return {
        "has_failed": generation.status == Generation.Status.FAILED,
        "has_interrupted": generation.status == Generation.Status.INTERRUPTED,
        "has_recovered": generation.recoveries > 0,
        "has_refused": REFUSED in {generation.error_code, generation.finish_reason},
        "has_slow": first_text_after > SLOW_FIRST_TEXT,
    }


def fill(
    conversation_ids: Iterable[UUID],
    *,
    summaries: Any = ConversationSummary,
    messages: Any = Message,
    generations: Any = Generation,
) -> None:
    """Store the summaries of conversations that have none. The models can be those of a migration."""
    ids = list(conversation_ids)
    rows = messages.objects.filter(conversation__in=ids).order_by().values("conversation")
    counts = {row["conversation"]: row for row in rows.annotate(count=Count("pk"), first=Min("pk"))}
    firsts = messages.objects.filter(pk__in=[row["first"] for row in counts.values()])
    texts = dict(firsts.annotate(start=Substr("text", 1, READ_CHARS)).values_list("conversation", "start"))
    was = {
        "has_failed": Q(status="failed"),
        "has_interrupted": Q(status="interrupted"),
        "has_recovered": Q(recoveries__gt=0),
        "has_refused": Q(error_code=REFUSED) | Q(finish_reason=REFUSED),
        "has_slow": Q(first_delta_at__gt=F("created_at") + SLOW_FIRST_TEXT),
    }
    ended = generations.objects.filter(message__conversation__in=ids, finished_at__isnull=False).order_by()
    totals = ended.values("message__conversation").annotate(
        cost=Sum("cost_usd"),
        duration=Sum(F("finished_at") - F("created_at")),
        source_=Max("source"),
        **{f"{name}_": Count("pk", filter=condition) for name, condition in was.items()},
    )
    summaries.objects.bulk_create(
        (
            summaries(
                conversation_id=(pk := row["message__conversation"]),
                messages_count=counts[pk]["count"],
                cost_usd=row["cost"] or 0,
                duration_s=row["duration"].total_seconds(),
                source=row["source_"],
                language=language_of(texts.get(pk, "")),
                **{name: row[f"{name}_"] > 0 for name in FLAGS},
            )
            for row in totals
        ),
        ignore_conflicts=True,
    )
