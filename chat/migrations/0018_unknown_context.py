from django.core.validators import MinValueValidator
from django.db import migrations, models

OLD_DEFAULT = 16_000


def forget_default(apps, schema_editor):
    """Rows with the old default become unknown: nobody can tell whether somebody chose it."""
    model = apps.get_model("chat", "Model")
    model.objects.filter(context_tokens=OLD_DEFAULT).update(context_tokens=None)


def restore_default(apps, schema_editor):
    model = apps.get_model("chat", "Model")
    model.objects.filter(context_tokens=None).update(context_tokens=OLD_DEFAULT)


class Migration(migrations.Migration):

    dependencies = [
        ("chat", "0017_refused_parameters"),
    ]

    operations = [
        migrations.AlterField(
            model_name="model",
            name="context_tokens",
            field=models.PositiveIntegerField(blank=True, help_text="Maximum number of tokens in the prompt and the answer together. If empty, it is unknown, and filled in when the endpoint names it.", null=True, validators=[MinValueValidator(1)], verbose_name="context window"),
        ),
        migrations.RunPython(forget_default, restore_default),
    ]
