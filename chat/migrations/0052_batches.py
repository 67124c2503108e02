
import chat.models.ids
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('chat', '0034_summary_adds_up'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='endpoint',
            name='has_batch_api',
            field=models.BooleanField(db_default=False, default=False, help_text="Whether it takes batches, by OpenAI's files and batches API, at a lower price.", verbose_name='has a batch API'),
        ),
        migrations.CreateModel(
            name='Batch',
            fields=[
                ('id', models.UUIDField(default=chat.models.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200, verbose_name='name')),
                ('model_name', models.CharField(max_length=200, verbose_name='model')),
                ('runner', models.CharField(choices=[('local', 'here, one call per row'), ('provider', 'by the provider, at its batch price')], default='local', max_length=10, verbose_name='run')),
                ('status', models.CharField(choices=[('storing', 'being stored'), ('ready', 'not started'), ('in_progress', 'in progress'), ('paused', 'paused'), ('cancelling', 'being cancelled'), ('completed', 'completed'), ('failed', 'failed'), ('expired', 'expired'), ('cancelled', 'cancelled')], default='storing', max_length=12, verbose_name='status')),
                ('system_prompt', models.TextField(blank=True, verbose_name='system prompt')),
                ('template', models.TextField(blank=True, verbose_name='template')),
                ('parameters', models.JSONField(blank=True, default=dict, verbose_name='parameters')),
                ('columns', models.JSONField(blank=True, default=list, verbose_name='columns')),
                ('total', models.PositiveIntegerField(default=0, verbose_name='rows')),
                ('completed', models.PositiveIntegerField(default=0, verbose_name='completed')),
                ('failed', models.PositiveIntegerField(default=0, verbose_name='failed')),
                ('prompt_tokens', models.PositiveBigIntegerField(default=0, verbose_name='estimated input tokens')),
                ('input_tokens', models.PositiveBigIntegerField(default=0, verbose_name='input tokens')),
                ('output_tokens', models.PositiveBigIntegerField(default=0, verbose_name='output tokens')),
                ('cost_usd', models.DecimalField(blank=True, decimal_places=6, max_digits=14, null=True, verbose_name='cost (USD)')),
                ('error_message', models.TextField(blank=True, verbose_name='error message')),
                ('round', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('provider_file', models.CharField(blank=True, max_length=200, verbose_name='file at the provider')),
                ('provider_batch', models.CharField(blank=True, max_length=200, verbose_name='batch at the provider')),
                ('provider_status', models.CharField(blank=True, max_length=40, verbose_name='status at the provider')),
                ('provider_counts', models.JSONField(blank=True, default=dict, editable=False)),
                ('submit_began_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('owner', models.CharField(blank=True, editable=False, max_length=32)),
                ('epoch', models.PositiveIntegerField(default=0, editable=False)),
                ('next_look_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('failures', models.PositiveSmallIntegerField(default=0, editable=False)),
                ('input_file', models.CharField(blank=True, editable=False, max_length=64)),
                ('url', models.CharField(blank=True, editable=False, max_length=40)),
                ('metadata', models.JSONField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
                ('started_at', models.DateTimeField(blank=True, null=True, verbose_name='started')),
                ('finished_at', models.DateTimeField(blank=True, null=True, verbose_name='finished')),
                ('api_key', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='chat.apikey', verbose_name='API key')),
                ('model', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='chat.model')),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='batches', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'batch',
                'verbose_name_plural': 'batches',
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='BatchLine',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('custom_id', models.CharField(max_length=200)),
                ('cells', models.JSONField(default=list)),
                ('prompt', models.TextField(blank=True)),
                ('request', models.JSONField(null=True)),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('running', 'running'), ('completed', 'completed'), ('failed', 'failed'), ('expired', 'expired'), ('cancelled', 'cancelled')], default='waiting', max_length=10)),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('error_code', models.CharField(blank=True, max_length=60)),
                ('reason', models.TextField(blank=True)),
                ('batch', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='lines', to='chat.batch')),
                ('generation', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='batch_lines', to='chat.generation')),
            ],
            options={
                'ordering': ['batch', 'number'],
            },
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(fields=['user', 'created_at'], name='chat_batch_user_id_a9c50c_idx'),
        ),
        migrations.AddIndex(
            model_name='batch',
            index=models.Index(condition=models.Q(('next_look_at__isnull', False)), fields=['next_look_at'], name='batches_due'),
        ),
        migrations.AddIndex(
            model_name='batchline',
            index=models.Index(fields=['batch', 'state', 'number'], name='chat_batchl_batch_i_58301a_idx'),
        ),
        migrations.AddConstraint(
            model_name='batchline',
            constraint=models.UniqueConstraint(fields=('batch', 'number'), name='one_line_per_number'),
        ),
        migrations.AddConstraint(
            model_name='batchline',
            constraint=models.UniqueConstraint(fields=('batch', 'custom_id'), name='one_line_per_custom_id'),
        ),
    ]
