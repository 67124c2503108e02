import chat.models.api_key
import chat.models.catalog
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    """Rename call-backs to webhooks, with their rows."""

    dependencies = [
        ("chat", "0007_api_keys"),
    ]

    operations = [
        migrations.RenameIndex("Callback", new_name="webhooks_to_deliver", old_name="callbacks_to_deliver"),
        migrations.RenameModel("Receiver", "WebhookEndpoint"),
        migrations.RenameModel("Callback", "Webhook"),
        migrations.RenameField("Webhook", "receiver", "endpoint"),
        migrations.AlterModelOptions(
            "webhook",
            {
                "ordering": ["-created_at"],
                "verbose_name": "webhook",
                "verbose_name_plural": "webhooks",
            },
        ),
        migrations.AlterModelOptions(
            "webhookendpoint",
            {
                "ordering": ["url"],
                "verbose_name": "webhook endpoint",
                "verbose_name_plural": "webhook endpoints",
            },
        ),
        migrations.AlterField(
            model_name='apikey',
            name='name',
            field=models.CharField(help_text='What the key is for, for example “nightly report”.', max_length=80, verbose_name='name'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='prefix',
            field=models.CharField(editable=False, max_length=12, verbose_name='prefix'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='running_max',
            field=models.PositiveIntegerField(blank=True, help_text='Empty: CHATSITE_RUNNING_PER_KEY.', null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(10000)], verbose_name='concurrent requests'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='scopes',
            field=models.JSONField(default=chat.models.api_key.every_scope, verbose_name='scopes'),
        ),
        migrations.AlterField(
            model_name='webhook',
            name='endpoint',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='webhooks', to='chat.webhookendpoint'),
        ),
        migrations.AlterField(
            model_name='webhook',
            name='generation',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='webhook', to='chat.generation'),
        ),
        migrations.AlterField(
            model_name='webhook',
            name='next_try_at',
            field=models.DateTimeField(default=django.utils.timezone.now, verbose_name='next attempt'),
        ),
        migrations.AlterField(
            model_name='webhookendpoint',
            name='url',
            field=models.CharField(help_text='Requests must give exactly this URL as callback_url.', max_length=500, unique=True, validators=[chat.models.catalog.validate_base_url], verbose_name='URL'),
        ),
    ]
