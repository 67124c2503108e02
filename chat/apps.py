"""The chat application's configuration."""

from typing import Any

from django.apps import AppConfig
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from chat.search import index


class ChatConfig(AppConfig):
    name = "chat"
    verbose_name = _("Chat")

    def ready(self) -> None:
        post_migrate.connect(keep_index, sender=self)


def keep_index(using: str, **_: Any) -> None:
    """Create what a migration may have dropped: SQLite loses a trigger when its table is rebuilt."""
    from chat.models import long_text

    tables = connection.introspection.table_names() if using == DEFAULT_DB_ALIAS else []
    if "chat_message" in tables:
        index.create()
    if long_text.TABLE in tables:
        long_text.create_triggers()
