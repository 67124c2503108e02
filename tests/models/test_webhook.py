"""Webhooks: due, claimed, given up; signing secrets; and rows from before the models were renamed."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from chat.models import Conversation, Generation, Webhook, WebhookEndpoint
from chat.models.api_request import ApiRequest

ROOT = Path(__file__).resolve().parents[2]
BEFORE = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

state = MigrationExecutor(connection).loader.project_state([("chat", "0007_api_keys")])
user = state.apps.get_model("auth", "User").objects.create(username="ada")
tables = {name: state.apps.get_model("chat", name).objects for name in
          ("Conversation", "Message", "Generation", "Receiver", "Callback")}
conversation = tables["Conversation"].create(user=user, title="")
message = tables["Message"].create(conversation=conversation, role="assistant")
generation = tables["Generation"].create(message=message, user=user, client_id="one")
receiver = tables["Receiver"].create(pk=7, url="https://example.org/done", salt="pepper")
tables["Callback"].create(generation=generation, receiver=receiver, attempts=3, last_error="HTTP 500")
"""
AFTER = """
from chat.models import Webhook, WebhookEndpoint
webhook = Webhook.objects.get()
print(webhook.endpoint.url, webhook.attempts, webhook.last_error, WebhookEndpoint.objects.get().secret)
"""
# `secret` of the endpoint above, as it was computed before the rename.
SECRET = "whsec_4X7+L+mjhvAGX47zv6UEYABA+2xloF8Om9IGAz2ep0A="


@pytest.fixture
def ask(user, model):
    """Return a function that stores a request with a webhook, and the generation's id."""

    def ask(endpoint):
        request = ApiRequest([{"role": "user", "content": "hello"}])
        return Conversation.ask_once(
            user, request, model=model, client_id="one", source="api", webhook_endpoint=endpoint
        ).generation_id

    return ask


def manage(data_dir, *arguments):
    env = os.environ | {"CHATSITE_DATA_DIR": str(data_dir), "DATABASE_URL": ""}
    env["CHATSITE_SECRET_KEY"] = "x" * 50
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.django_db
def test_a_webhook_is_due_when_its_answer_is_final_and_claimed_once(ask):
    endpoint = WebhookEndpoint.objects.create(url="https://example.org/done")
    generation_id = ask(endpoint)
    assert not Webhook.objects.due().exists()
    Generation.objects.filter(pk=generation_id).update(status="completed", finished_at=timezone.now())
    first, second = Webhook.objects.due().get(), Webhook.objects.due().get()
    assert first.claim_attempt()
    assert not second.claim_attempt()
    assert not Webhook.objects.due().exists()


@pytest.mark.django_db
def test_a_webhook_that_fails_is_given_up_after_a_day(ask):
    endpoint = WebhookEndpoint.objects.create(url="https://example.org/done")
    generation_id = ask(endpoint)
    webhook = Webhook.objects.select_related("generation").get()
    webhook.mark_failed("HTTP 500")
    webhook.refresh_from_db()
    assert (webhook.last_error, webhook.given_up_at) == ("HTTP 500", None)
    long_ago = timezone.now() - timedelta(hours=25)
    Generation.objects.filter(pk=generation_id).update(status="completed", finished_at=long_ago)
    webhook = Webhook.objects.select_related("generation").get()
    webhook.mark_failed("HTTP 500")
    assert not Webhook.objects.due().exists()


@pytest.mark.django_db
def test_an_endpoints_secret_is_its_own_and_can_be_renewed():
    endpoint = WebhookEndpoint.objects.create(url="https://example.org/done")
    other = WebhookEndpoint.objects.create(url="https://example.org/other")
    secret = endpoint.secret
    assert secret == WebhookEndpoint.objects.get(pk=endpoint.pk).secret != other.secret
    endpoint.renew_secret()
    assert endpoint.secret != secret


def test_the_rename_keeps_rows_and_signing_secrets(tmp_path):
    manage(tmp_path, "migrate", "-v0", "chat", "0007")
    manage(tmp_path, "shell", "-v0", "-c", BEFORE)
    manage(tmp_path, "migrate", "-v0", "chat")
    after = manage(tmp_path, "shell", "-v0", "-c", AFTER)
    assert after.split("\n")[0] == f"https://example.org/done 3 HTTP 500 {SECRET}"
