"""Keys, receivers and call-backs, as staff see them."""

import pytest
from django.urls import reverse

from chat.models import ApiKey, Receiver

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


def test_a_receivers_secret_is_on_its_page_and_can_be_renewed(desk):
    receiver = Receiver.objects.create(url="https://example.org/done")
    page = reverse("admin:chat_receiver_change", args=[receiver.pk])
    assert receiver.secret in desk.get(page).content.decode()
    desk.post(
        reverse("admin:chat_receiver_changelist"), {"action": "renew", "_selected_action": [receiver.pk]}
    )
    assert receiver.secret not in desk.get(page).content.decode()


def test_call_backs_are_listed(desk):
    assert desk.get(reverse("admin:chat_callback_changelist")).status_code == 200
