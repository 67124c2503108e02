"""API keys, webhook endpoints and webhooks in the admin."""

from uuid import uuid4

import pytest
from django.urls import reverse

from chat.models import ApiKey, Conversation, LargeRequest, WebhookEndpoint
from chat.models.api_request import ApiRequest
from chat.models.large_request import LargeMessages, StoredMessages
from tests.batches.support import prompts, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(staff, client_of):
    return client_of(staff)


def test_a_key_is_listed_with_its_limit_and_never_shown(desk, user, settings):
    row, key = ApiKey.make(user, "nightly report")
    pages = [reverse("admin:chat_apikey_changelist"), reverse("admin:chat_apikey_change", args=[row.pk])]
    for page in pages:
        html = desk.get(page).content.decode()
        assert "nightly report" in html
        assert f"0 / {settings.RUNNING_PER_KEY}" in html
        assert key not in html
        assert row.digest not in html
    assert desk.get(reverse("admin:chat_apikey_add")).status_code == 403


def test_staff_revoke_a_key(desk, user):
    row, key = ApiKey.make(user, "one")
    desk.post(reverse("admin:chat_apikey_changelist"), {"action": "revoke", "_selected_action": [row.pk]})
    assert ApiKey.find(key) is None


def test_an_endpoints_secret_is_on_its_page_and_can_be_renewed(desk):
    endpoint = WebhookEndpoint.objects.create(url="https://example.org/done")
    page = reverse("admin:chat_webhookendpoint_change", args=[endpoint.pk])
    assert endpoint.secret in desk.get(page).content.decode()
    desk.post(
        reverse("admin:chat_webhookendpoint_changelist"),
        {"action": "renew", "_selected_action": [endpoint.pk]},
    )
    assert endpoint.secret not in desk.get(page).content.decode()


def test_webhooks_are_listed(desk):
    assert desk.get(reverse("admin:chat_webhook_changelist")).status_code == 200


def test_a_large_request_shows_its_beginning(desk, user, model):
    stored = StoredMessages(uuid4(), "hello")
    LargeRequest.add_slice(
        stored.large_request_id, 0, b'{"role":"user","content":"the beginning ' + b"x" * 9000
    )
    LargeRequest.add_slice(stored.large_request_id, 1, b'the end"}')
    started = Conversation.ask_once(
        user,
        ApiRequest([], large=LargeMessages("0", 1, 9000)),
        model=model,
        client_id="one",
        source="api",
        messages=stored,
    )
    html = desk.get(reverse("admin:chat_generation_change", args=[started.generation_id])).content.decode()
    assert "the beginning" in html
    assert "the end" not in html


def test_operators_see_batches_without_what_users_wrote(desk, user, model, tmp_path):
    batch = stored(tmp_path, user, model, prompts(2), system_prompt="secret words")
    for address in (
        reverse("admin:chat_batch_changelist"),
        reverse("admin:chat_batch_change", args=[batch.pk]),
    ):
        page = desk.get(address).content.decode()
        assert "0 / 0 / 2" in page
        assert "secret words" not in page
