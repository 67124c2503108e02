"""Shared links: read-only pages of one branch of a conversation, for everybody who has the address."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.attachment import Attachment
from chat.models.conversation import Conversation
from chat.models.generation import Generation
from chat.models.message import Message

LINKS_MAX = 500
MESSAGES_MAX = 2_000


class SharedLinkQuerySet(models.QuerySet["SharedLink"]):
    def of(self, user: AbstractUser) -> SharedLinkQuerySet:
        return self.filter(user_id=user.pk)

    def open(self) -> SharedLinkQuerySet:
        """Return those that show something: not expired, of a conversation and a user that still exist."""
        if not settings.SHARING_IS_ALLOWED:
            return self.none()
        unexpired = self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        return unexpired.filter(conversation__deleted_at=None, user__is_active=True)


class SharedLink(models.Model):
    """A link to the messages from the first one to `leaf`, as they were when it was made.

    It copies no text: messages do not change, but for answers that are continued, and of these the text
    before is kept. So what is redacted or erased is gone from the page too. Revoking deletes the row.
    """

    token = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="shared_links")
    conversation = models.ForeignKey("chat.Conversation", models.CASCADE, related_name="shared_links")
    leaf = models.ForeignKey("chat.Message", models.CASCADE, related_name="+")
    # The name that the page shows; empty: none.
    owner_name = models.CharField(max_length=150, blank=True)
    # Whether the page has the files of the messages.
    with_files = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(default=timezone.now)
    # Null: it does not expire.
    expires_at = models.DateTimeField(null=True)

    objects = SharedLinkQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"link to {self.conversation_id}"

    @classmethod
    def make(
        cls,
        user: AbstractUser,
        conversation: Conversation,
        *,
        days: int | None,
        owner_name: str = "",
        with_files: bool = False,
    ) -> SharedLink:
        """Share the branch that is shown now. `days`: until it expires; None: never.

        Raises RequestRefused: `not_allowed`, `empty`, `busy`, `too_many`.
        """
        if not settings.SHARING_IS_ALLOWED:
            raise RequestRefused("not_allowed", _("Sharing is switched off on this site."))
        if conversation.expires_at is not None:
            raise RequestRefused("empty", _("A temporary chat cannot be shared."))
        if conversation.leaf_id is None:
            raise RequestRefused("empty", _("Only a conversation with messages can be shared."))
        if Generation.objects.active().filter(message__conversation=conversation).exists():
            raise RequestRefused("busy", _("Wait until the answer is complete, or stop it."))
        if cls.objects.of(user).count() >= LINKS_MAX:
            raise RequestRefused("too_many", _("You have too many links. Revoke some of them first."))
        now = timezone.now()
        return cls.objects.create(
            token=secrets.token_urlsafe(24),
            user_id=user.pk,
            conversation=conversation,
            leaf_id=conversation.leaf_id,
            owner_name=owner_name[:150],
            with_files=with_files,
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
        )

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def files(self, messages: Sequence[Message]) -> dict[int, list[Attachment]]:
        """Return the files of these of its messages, if it shows any, without later pictures of an answer."""
        found = Attachment.by_message(messages) if self.with_files else {}
        return {
            pk: [file for file in files if file.created_at <= self.created_at] for pk, files in found.items()
        }

    def file(self, pk: UUID) -> Attachment | None:
        """Return a file that the page shows, or None."""
        found = (each for files in self.files(self.messages()).values() for each in files)
        return next((each for each in found if each.pk == pk and each.content is not None), None)

    def messages(self) -> list[Message]:
        """Return the messages, oldest first, with the texts that they had then."""
        found = Message.branch(self.conversation, self.leaf_id, limit=MESSAGES_MAX)
        later = Generation.objects.filter(message__in=found, created_at__gt=self.created_at).order_by("-pk")
        # The first run after that comes last.
        earlier = dict(later.values_list("message_id", "prefix"))
        for message in found:
            if message.pk in earlier:
                message.text, message.html = earlier[message.pk], ""
        return found
