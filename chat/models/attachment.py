"""Attachments: files that people add to messages, as a model can read them, and pictures of answers.

One attachment can belong to several messages: a question that is edited keeps it in both versions.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Exists, OuterRef, Q, Sum
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.errors import RequestRefused
from chat.models.catalog import Model
from chat.models.ids import uuid7
from chat.models.message import Message
from chat.models.stored_content import LONG_AGO, StoredContent

PER_MESSAGE_MAX = 10
# One that was uploaded and never sent may be in a draft.
UNUSED_KEPT = timedelta(days=1)
NAME_MAX_CHARS = 200


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    def of(self, user: AbstractUser) -> AttachmentQuerySet:
        """Return those of a user, without those that only deleted conversations have."""
        uses = MessageAttachment.objects.filter(attachment=OuterRef("pk"))
        listed = uses.filter(message__conversation__deleted_at=None)
        return self.filter(Exists(listed) | ~Exists(uses) | Exists(_in_projects()), user_id=user.pk)

    def get_for(self, user: AbstractUser, pk: uuid.UUID) -> Attachment:
        """Return an attachment of the user. Raises RequestRefused `not_found`, also for another user's."""
        found = self.of(user).select_related("content").filter(pk=pk, content__isnull=False).first()
        if found is None:
            raise RequestRefused("not_found", _("This file does not exist."))
        return found

    def erase_unused(self) -> None:
        """Have those deleted at the next cleanup that no message and no project has."""
        self.filter(unused_since__isnull=False).update(unused_since=LONG_AGO)

    def bytes_of(self, user: AbstractUser) -> int:
        """Return how much of the user's quota is used up."""
        return self.filter(user_id=user.pk).aggregate(total=Sum("size_bytes"))["total"] or 0


class Attachment(models.Model):
    """A file of one user. `content`: a picture that was encoded again, or a document as it was uploaded.

    The picture of an answer that could not be kept has no content: `notes` say why, and `text` is its address
    on the web, if the model sent only that.
    """

    class Kind(models.TextChoices):
        IMAGE = "image", gettext_lazy("picture")
        TEXT = "text", gettext_lazy("document")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="attachments", db_index=False
    )
    name = models.CharField(gettext_lazy("name"), max_length=NAME_MAX_CHARS)
    kind = models.CharField(gettext_lazy("kind"), max_length=10, choices=Kind)
    media_type = models.CharField(gettext_lazy("type"), max_length=120)
    # Null: a redaction has removed it, or it could not be kept.
    content = models.ForeignKey(StoredContent, models.PROTECT, null=True, related_name="attachments")
    # Of the file as it was uploaded, to know it when it is sent again.
    upload_sha256 = models.CharField(max_length=64, editable=False)
    # Of all its contents.
    size_bytes = models.PositiveBigIntegerField(gettext_lazy("size (bytes)"))
    # What was extracted of a document.
    text = models.TextField(gettext_lazy("text"), blank=True)
    # Sentences for people: what was cut, or looks odd.
    notes = models.JSONField(gettext_lazy("notes"), default=list, blank=True)
    # The estimated cost in a prompt.
    tokens = models.PositiveIntegerField(gettext_lazy("tokens"))
    # Of a picture, in pixels.
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    page_count = models.PositiveIntegerField(gettext_lazy("pages"), null=True)
    is_truncated = models.BooleanField(default=False)
    created_at = models.DateTimeField(gettext_lazy("uploaded"), default=timezone.now)
    # Since when nothing may refer to it; null: something did. Cleanup looks only at these.
    unused_since = models.DateTimeField(null=True, default=timezone.now, editable=False)

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        verbose_name = gettext_lazy("attachment")
        indexes = [
            models.Index(fields=["user", "upload_sha256"], name="attachments_by_upload"),
            models.Index(
                fields=["unused_since"], condition=Q(unused_since__isnull=False), name="attachments_unused"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_image(self) -> bool:
        return self.kind == self.Kind.IMAGE

    @property
    def summary(self) -> str:
        """The cost of it in a prompt, and the pages if it has some, for people."""
        tokens = _("about %(number)s tokens") % {"number": f"{self.tokens:,}"}
        if self.page_count is None:
            return tokens
        pages = ngettext("%(number)d page", "%(number)d pages", self.page_count)
        return f"{pages % {'number': self.page_count}} · {tokens}"

    @classmethod
    def find_all(cls, user: AbstractUser, ids: Sequence[uuid.UUID], model: Model) -> list[Attachment]:
        """Return the user's attachments with these ids, locked, in this order. No query for none.

        `model`: it is to see them. Raises RequestRefused: `too_many_attachments`, `attachment_gone`,
        `cannot_see`.
        """
        if not ids:
            return []
        if len(ids) > PER_MESSAGE_MAX:
            text = _("A message can have at most %(limit)d files. Remove some of them.")
            raise RequestRefused("too_many_attachments", text % {"limit": PER_MESSAGE_MAX})
        wanted = list(dict.fromkeys(ids))
        # Locked, so that cleanup cannot delete one meanwhile.
        found = cls.objects.of(user).select_for_update().defer("text").in_bulk(wanted)
        if len(found) < len(wanted):
            text = _("One of the files is no longer stored here. Remove it, and attach it again.")
            raise RequestRefused("attachment_gone", text)
        cls.check_seen(wanted, model)
        return [found[pk] for pk in wanted]

    @classmethod
    def check_seen(cls, ids: Collection[uuid.UUID], model: Model) -> None:
        """Check that a model can read these. No query if it sees. Raises RequestRefused `cannot_see`."""
        if model.sees_images or not ids:
            return
        only_seen = cls.objects.filter(Q(kind=cls.Kind.IMAGE) | Q(text=""), pk__in=ids, content__isnull=False)
        if (picture := only_seen.only("name").first()) is not None:
            text = _("%(model)s cannot see pictures. Choose another model, or remove “%(name)s”.")
            raise RequestRefused("cannot_see", text % {"model": model, "name": picture.name})

    @classmethod
    def attach(cls, message: Message, attachments: Sequence[Attachment]) -> None:
        """Make these the attachments of a message. In the transaction that stores it."""
        if not attachments:
            return
        MessageAttachment.objects.bulk_create(
            MessageAttachment(message=message, attachment=each, position=number)
            for number, each in enumerate(attachments)
        )
        cls.objects.filter(pk__in=[each.pk for each in attachments]).update(unused_since=None)

    @classmethod
    def attach_to_request(cls, message_id: int, user: AbstractUser, ids: Collection[str]) -> None:
        """Make these the attachments of a program's request, by its user message. In its transaction.

        Raises RequestRefused `attachment_gone`.
        """
        wanted = {uuid.UUID(pk) for pk in ids}
        found = cls.objects.of(user).select_for_update().defer("text").in_bulk(wanted)
        if len(found) < len(wanted):
            raise RequestRefused("attachment_gone", _("A file of this request was deleted meanwhile."))
        message = Message(pk=message_id)
        cls.attach(message, [found[pk] for pk in sorted(found)])
        Message.objects.filter(pk=message_id).update(attachment_tokens=cls.tokens_of(found.values()))

    @classmethod
    def attach_to_answer(cls, message_id: int, ids: Collection[str]) -> None:
        """Add these pictures to an answer, after those that it has. In the transaction of its end."""
        if not ids:
            return
        uses = MessageAttachment.objects.filter(message=message_id)
        before = set(uses.values_list("attachment_id", flat=True))
        new = [pk for each in ids if (pk := uuid.UUID(each)) not in before]
        found = cls.objects.select_for_update().defer("text").in_bulk(new)
        MessageAttachment.objects.bulk_create(
            MessageAttachment(message_id=message_id, attachment_id=pk, position=len(before) + number)
            for number, pk in enumerate(dict.fromkeys(new))
            if pk in found
        )
        cls.objects.filter(pk__in=new).update(unused_since=None)
        all_tokens = cls.tokens_of(cls.objects.filter(uses__message=message_id).only("tokens"))
        Message.objects.filter(pk=message_id).update(attachment_tokens=all_tokens)

    @classmethod
    def by_message(
        cls, messages: Iterable[Message], *, with_text: bool = False
    ) -> dict[int, list[Attachment]]:
        """Return the attachments of these messages, in their order. No query if none has any."""
        ids = [message.pk for message in messages if message.attachment_tokens]
        found: dict[int, list[Attachment]] = defaultdict(list)
        if not ids:
            return found
        uses = MessageAttachment.objects.filter(message__in=ids).select_related("attachment__content")
        if not with_text:
            uses = uses.defer("attachment__text")
        for use in uses.order_by("message_id", "position"):
            found[use.message_id].append(use.attachment)
        return found

    @classmethod
    def delete_unused(cls, limit: int) -> int:
        """Delete some attachments that nothing refers to any more; return how many rows were looked at."""
        old = Q(unused_since__lt=timezone.now() - UNUSED_KEPT)
        looked_at = cls.objects.filter(old).order_by("unused_since").values_list("pk", flat=True)[:limit]
        ids = list(
            cls.objects.select_for_update().filter(pk__in=list(looked_at)).values_list("pk", flat=True)
        )
        used = set(MessageAttachment.objects.filter(attachment__in=ids).values_list("attachment", flat=True))
        used |= set(cls.objects.filter(Exists(_in_projects()), pk__in=ids).values_list("pk", flat=True))
        cls.objects.filter(pk__in=used).update(unused_since=None)
        cls.objects.filter(pk__in=set(ids) - used).delete()
        return len(ids)

    def remove_files(self) -> None:
        """Remove its file and the pages. In a transaction."""
        Attachment.objects.filter(pk=self.pk).update(content=None, upload_sha256="", size_bytes=0)
        if self.content_id is not None:
            StoredContent.release([self.content_id])
        self.pages.all().delete()

    @classmethod
    def tokens_of(cls, attachments: Collection[Attachment]) -> int:
        """Return what these cost in a prompt; more than 0 if there is any."""
        return sum(max(each.tokens, 1) for each in attachments)


def _in_projects() -> models.QuerySet[Any]:
    """Return the files of projects that are the attachment of the outer query."""
    table = Attachment._meta.get_field("project_uses").related_model
    rows: models.QuerySet[Any] = table._default_manager.filter(attachment=OuterRef("pk"))
    return rows


class AttachmentPage(models.Model):
    """A page of a document as a picture, where the document has no text."""

    attachment = models.ForeignKey(Attachment, models.CASCADE, related_name="pages", db_index=False)
    number = models.PositiveIntegerField()
    content = models.ForeignKey(StoredContent, models.PROTECT, related_name="pages")
    media_type = models.CharField(max_length=120)

    class Meta:
        ordering = ["attachment", "number"]
        constraints = [models.UniqueConstraint(fields=["attachment", "number"], name="attachment_page_once")]

    def __str__(self) -> str:
        return f"page {self.number} of {self.attachment_id}"


class MessageAttachment(models.Model):
    """That a message has an attachment."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="attachment_uses", db_index=False)
    attachment = models.ForeignKey(Attachment, models.CASCADE, related_name="uses")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["message", "position"]
        constraints = [models.UniqueConstraint(fields=["message", "attachment"], name="attached_once")]

    def __str__(self) -> str:
        return f"{self.attachment_id} of message {self.message_id}"


@receiver(post_delete, sender=MessageAttachment)
def _note_unused(instance: MessageAttachment, **_kwargs: Any) -> None:
    """Let cleanup look at what may have lost its last message, whoever deleted that."""
    Attachment.objects.filter(pk=instance.attachment_id).update(unused_since=LONG_AGO)


@receiver(post_delete, sender=Attachment)
@receiver(post_delete, sender=AttachmentPage)
def _release_content(instance: Attachment | AttachmentPage, **_kwargs: Any) -> None:
    if instance.content_id is not None:
        StoredContent.release([instance.content_id])
