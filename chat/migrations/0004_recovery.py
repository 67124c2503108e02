
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0003_breaker_override'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='before_chars',
            field=models.PositiveIntegerField(db_default=0, default=0, verbose_name='characters before'),
        ),
        migrations.AddField(
            model_name='attempt',
            name='recovery',
            field=models.CharField(blank=True, choices=[('continue', 'continues the text'), ('restart', 'begins anew')], db_default='', max_length=10, verbose_name='recovery'),
        ),
        migrations.AddField(
            model_name='generation',
            name='recoveries',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, verbose_name='recoveries'),
        ),
    ]
