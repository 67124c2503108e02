"""Tags: words that a user puts on conversations, to find them again."""

from __future__ import annotations

import re
from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.utils.translation import gettext as _

from chat.errors import RequestRefused
from chat.models.conversation import Conversation
from chat.text import clean

TAG_MAX_CHARS = 40
# So many are offered and shown on one page.
TAGS_MAX = 200
TAGS_PER_CONVERSATION = 20
# A comma separates tags where they are typed; a quote would end one in a search.
_NOT_IN_A_TAG = re.compile(r'[\s"#]+')


class TagQuerySet(models.QuerySet["Tag"]):
    def of(self, user: AbstractUser) -> TagQuerySet:
        """Return the tags of a user, by name."""
        return self.filter(user_id=user.pk).order_by("name")


class Tag(models.Model):
    """A tag of one user. Its name is lower case, and one that is on no conversation is deleted."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="tags")
    name = models.CharField(max_length=TAG_MAX_CHARS)
    conversations = models.ManyToManyField(Conversation, related_name="tags")

    objects = TagQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="one_tag_per_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def as_filter(self) -> str:
        """What finds its conversations when it is searched for."""
        return f'tag:"{self.name}"' if " " in self.name else f"tag:{self.name}"

    @classmethod
    def names_in(cls, text: str) -> list[str]:
        """Return the names in a text that separates them by commas. Raises RequestRefused `too_long`."""
        names = [_NOT_IN_A_TAG.sub(" ", part).strip().lower() for part in clean(text).split(",")]
        names = list(dict.fromkeys(name for name in names if name))
        if any(len(name) > TAG_MAX_CHARS for name in names):
            message = _("A tag may have at most %(limit)d characters.") % {"limit": TAG_MAX_CHARS}
            raise RequestRefused("too_long", message)
        return names

    @classmethod
    @transaction.atomic
    def add(cls, user: AbstractUser, names: Iterable[str], conversations: Iterable[Conversation]) -> None:
        """Put tags on conversations of the user.

        Raises RequestRefused `too_many_tags`; none is put on then.
        """
        conversations = list(conversations)
        for name in names:
            cls.objects.get_or_create(user_id=user.pk, name=name)[0].conversations.add(*conversations)
        counted = Conversation.objects.filter(pk__in=[each.pk for each in conversations])
        over = counted.annotate(count=models.Count("tags")).filter(count__gt=TAGS_PER_CONVERSATION)
        if over.exists() or cls.objects.of(user).count() > TAGS_MAX:
            message = _("A conversation may have %(each)d tags, and you %(all)d in all. Remove some first.")
            raise RequestRefused("too_many_tags", message % {"each": TAGS_PER_CONVERSATION, "all": TAGS_MAX})

    @classmethod
    @transaction.atomic
    def remove(cls, user: AbstractUser, names: Iterable[str], conversations: Iterable[Conversation]) -> None:
        """Take tags off conversations."""
        conversations = list(conversations)
        for tag in cls.objects.of(user).filter(name__in=list(names)):
            tag.conversations.remove(*conversations)
        cls.objects.of(user).filter(conversations=None).delete()

    @classmethod
    @transaction.atomic
    def replace(cls, user: AbstractUser, names: Iterable[str], conversation: Conversation) -> None:
        """Give a conversation these tags and no others. Raises as `add`."""
        wanted = set(names)
        old = set(cls.objects.of(user).filter(conversations=conversation).values_list("name", flat=True))
        cls.remove(user, old - wanted, [conversation])
        cls.add(user, sorted(wanted - old), [conversation])
