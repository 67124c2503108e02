"""The page of a user's API keys."""

import re

from django.urls import reverse

from chat.models import ApiKey


def test_a_key_is_shown_once_and_only_its_digest_is_kept(client, user):
    page = client.post(reverse("api_keys"), {"name": "nightly report"}).content.decode()
    key = re.search(r'id="new-key" value="(cs-[\w-]{43})"', page)[1]
    row = ApiKey.objects.get()
    assert (row.user, row.name, key[:9]) == (user, "nightly report", row.prefix)
    assert ApiKey.find(key) == row
    assert key not in str(ApiKey.objects.values())
    later = client.get(reverse("api_keys")).content.decode()
    assert key not in later
    assert row.prefix in later
    assert "nightly report" in later


def test_a_key_needs_a_name_and_their_number_is_limited(client, monkeypatch):
    assert client.post(reverse("api_keys"), {"name": " "}).status_code == 422
    monkeypatch.setattr(ApiKey, "PER_USER", 1)
    client.post(reverse("api_keys"), {"name": "one"})
    refused = client.post(reverse("api_keys"), {"name": "two"})
    assert refused.status_code == 422
    assert "Revoke a key" in refused.content.decode()


def test_a_revoked_key_is_invalid(client, user):
    row, key = ApiKey.make(user, "one")
    assert client.post(reverse("api_key_revoke", args=[row.pk])).status_code == 302
    assert ApiKey.find(key) is None
    assert row.prefix not in client.get(reverse("api_keys")).content.decode()


def test_a_user_cannot_revoke_another_users_key(client, other_user):
    row, key = ApiKey.make(other_user, "not mine")
    assert client.post(reverse("api_key_revoke", args=[row.pk])).status_code == 404
    assert ApiKey.find(key) == row


def test_a_key_of_a_disabled_user_and_an_expired_key_are_invalid(user):
    _row, key = ApiKey.make(user, "one")
    user.is_active = False
    user.save()
    assert ApiKey.find(key) is None
    user.is_active = True
    user.save()
    ApiKey.objects.update(expires_at=user.date_joined)
    assert ApiKey.find(key) is None
