"""The access log: who opened, searched, exported or redacted conversations of others.

Records are a chain: each holds the hash of the one before, and `AccessChain` the hash of the last. A record
that is changed or removed, also at the end, breaks it. `check` finds where.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

CHECK_ROWS = 1_000


class AccessChain(models.Model):
    """The end of the chain. One row, whose lock puts simultaneous records in order."""

    count = models.PositiveBigIntegerField(default=0)
    last_hash = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"{self.count} records"


class AccessRecord(models.Model):
    """One access to conversations of others. Only `add` writes it, and nothing changes it.

    Users and conversations are named by id and not by a foreign key: a record outlives them.
    """

    class Action(models.TextChoices):
        OPEN = "open", _("opened")
        SEARCH = "search", _("searched")
        EXPORT = "export", _("exported")
        REDACT = "redact", _("redacted")
        READ_LOG = "read_log", _("exported the access log")

    number = models.PositiveBigIntegerField(_("number"), primary_key=True)
    at = models.DateTimeField(_("time"), default=timezone.now)
    actor_id = models.BigIntegerField(_("actor ID"))
    actor_name = models.CharField(_("who"), max_length=150)
    action = models.CharField(_("action"), max_length=10, choices=Action)
    conversation_id = models.UUIDField(_("conversation"), null=True, blank=True)
    # The user whose conversation it is.
    subject_id = models.BigIntegerField(_("whose"), null=True, blank=True)
    address = models.CharField(_("from address"), max_length=45, blank=True)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    # Such as the words of a search, or the format of an export.
    details = models.JSONField(_("details"), default=dict, blank=True)
    # Hashed instead of `details`, which a redaction may have to remove.
    details_hash = models.CharField(max_length=64)
    is_redacted = models.BooleanField(default=False)
    previous_hash = models.CharField(_("hash before"), max_length=64, blank=True)
    hash = models.CharField(_("hash"), max_length=64)

    class Meta:
        ordering = ["-number"]
        verbose_name = _("access record")
        verbose_name_plural = _("access log")
        indexes = [
            models.Index(fields=["subject_id", "-number"], name="accesses_to_user"),
            models.Index(fields=["actor_id", "-number"], name="accesses_by_user"),
            models.Index(fields=["conversation_id", "-number"], name="accesses_to_conversation"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.actor_name} {self.get_action_display()}"

    @classmethod
    @transaction.atomic
    def add(
        cls,
        action: str,
        *,
        actor_id: int,
        actor_name: str,
        conversation_id: UUID | None = None,
        subject_id: int | None = None,
        address: str = "",
        reason: str = "",
        details: dict[str, Any] | None = None,
    ) -> AccessRecord:
        """Append a record to the chain. Three queries."""
        chain, _is_new = AccessChain.objects.select_for_update().get_or_create(pk=1)
        record = cls(
            number=chain.count + 1,
            actor_id=actor_id,
            actor_name=actor_name,
            action=action,
            conversation_id=conversation_id,
            subject_id=subject_id,
            address=address,
            reason=reason,
            details=details or {},
            details_hash=digest(details or {}),
            previous_hash=chain.last_hash,
        )
        record.hash = record.computed_hash()
        record.save(force_insert=True)
        AccessChain.objects.filter(pk=1).update(count=record.number, last_hash=record.hash)
        return record

    def computed_hash(self) -> str:
        """Return the hash that this record must have."""
        return digest(
            [
                *(self.number, moment(self.at), self.actor_id, self.actor_name, self.action),
                *(str(self.conversation_id or ""), self.subject_id, self.address, self.reason),
                *(self.details_hash, self.previous_hash),
            ]
        )


@dataclass(frozen=True, slots=True)
class ChainFault:
    """Where the chain is broken: the number of a record, and what is wrong with it."""

    number: int
    problem: str


def chain_faults() -> Iterator[ChainFault]:
    """Yield what is wrong with the access log. Reads all of it, a thousand records at a time."""
    expected, previous = 1, ""
    for record in _in_order():
        if record.number != expected:
            yield ChainFault(expected, "missing")
        elif record.previous_hash != previous:
            yield ChainFault(record.number, "does not follow the record before")
        if record.hash != record.computed_hash():
            yield ChainFault(record.number, "changed")
        elif not record.is_redacted and record.details_hash != digest(record.details):
            yield ChainFault(record.number, "details changed")
        expected, previous = record.number + 1, record.hash
    chain = AccessChain.objects.filter(pk=1).first()
    if chain is None:
        if expected > 1:
            yield ChainFault(expected, "the end of the chain is missing")
    elif (chain.count, chain.last_hash) != (expected - 1, previous):
        yield ChainFault(expected, "missing at the end")


def _in_order() -> Iterator[AccessRecord]:
    after = 0
    while page := list(AccessRecord.objects.filter(number__gt=after).order_by("number")[:CHECK_ROWS]):
        yield from page
        after = page[-1].number


def digest(value: Any) -> str:
    """Return the hash of a JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def moment(at: datetime) -> str:
    """Return a time as it is hashed: UTC, microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
