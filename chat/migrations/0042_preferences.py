"""What a user has set for all conversations."""

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('chat', '0037_prices'),
    ]

    operations = [
        migrations.CreateModel(
            name='Preferences',
            fields=[
                ('user', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='preferences', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('text_size', models.CharField(choices=[('small', 'Small'), ('normal', 'Normal'), ('large', 'Large')], db_default='normal', default='normal', max_length=10, verbose_name='text size')),
                ('instructions', models.TextField(blank=True, db_default='', default='', validators=[django.core.validators.MaxLengthValidator(20000)], verbose_name='custom instructions')),
                ('favourite_models', models.JSONField(blank=True, default=list)),
                ('model', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='chat.model', verbose_name='model')),
            ],
            options={
                'verbose_name_plural': 'preferences',
            },
        ),
    ]
