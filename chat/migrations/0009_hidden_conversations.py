"""Conversations of programs are hidden; before, those of users were `listed`."""

from django.db import migrations, models


def hide_unlisted(apps, schema_editor):
    apps.get_model("chat", "Conversation").objects.filter(is_listed=False).update(is_hidden=True)


def unlist_hidden(apps, schema_editor):
    apps.get_model("chat", "Conversation").objects.filter(is_hidden=True).update(is_listed=False)


class Migration(migrations.Migration):
    dependencies = [("chat", "0008_webhooks")]

    operations = [
        migrations.AddField(
            "conversation",
            "is_hidden",
            models.BooleanField(db_default=False, default=False, editable=False, verbose_name="hidden"),
        ),
        migrations.RunPython(hide_unlisted, unlist_hidden),
        migrations.RemoveField("conversation", "is_listed"),
    ]
