"""Create the search index, and fill it from the messages that exist."""

from django.db import migrations

from chat.search import Document, index

ROWS = 500


def create(apps, schema_editor):
    if schema_editor.connection.alias != "default":
        return
    index.create()
    Message = apps.get_model("chat", "Message")
    last = 0
    rows = Message.objects.exclude(text="").order_by("pk")
    fields = ("pk", "conversation__user_id", "conversation__is_hidden", "text", "conversation__title", "parent_id")
    while found := list(rows.filter(pk__gt=last).values_list(*fields)[:ROWS]):
        index.store(
            Document(pk, user_id, is_hidden, text, "" if parent_id else title)
            for pk, user_id, is_hidden, text, title, parent_id in found
        )
        last = found[-1][0]


def drop(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS chat_search_follows_messages")
    else:
        schema_editor.execute("DROP FUNCTION IF EXISTS chat_search_follow() CASCADE")  # and its triggers
    schema_editor.execute("DROP TABLE IF EXISTS chat_search")


class Migration(migrations.Migration):
    dependencies = [("chat", "0019_tool_calls")]

    operations = [migrations.RunPython(create, drop)]
