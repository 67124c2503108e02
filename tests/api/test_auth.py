"""Authentication: each kind of invalid key gets its own message."""

import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.utils import timezone

from chat.models import ApiKey

pytestmark = pytest.mark.django_db


async def error_of(authorization):
    headers = {"Authorization": authorization} if authorization else {}
    response = await AsyncClient().get("/v1/models", headers=headers)
    assert response["x-should-retry"] == "false"
    error = json.loads(response.content)["error"]
    return response.status_code, error["code"], error["message"]


async def test_a_missing_and_an_unknown_key_have_different_messages(user):
    missing = (401, "invalid_api_key", "Send an API key as “Authorization: Bearer cs-…”. ")
    assert (await error_of(""))[:2] == missing[:2]
    assert (await error_of("Basic YTpi"))[2].startswith(missing[2])
    assert await error_of("Bearer cs-1") == (
        401,
        "invalid_api_key",
        "This API key is not valid. Use another one.",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revoked_at": timezone.now()}, "This API key was revoked. Use another one."),
        (
            {"expires_at": timezone.now() - timedelta(seconds=1)},
            "This API key has expired. Use another one.",
        ),
    ],
)
def test_a_revoked_and_an_expired_key_have_different_messages(user, change, message):
    row, key = ApiKey.make(user, "tests")
    ApiKey.objects.filter(pk=row.pk).update(**change)
    assert async_to_sync(error_of)(f"Bearer {key}") == (401, "invalid_api_key", message)


def test_a_key_without_the_scope_names_it(user):
    row, key = ApiKey.make(user, "tests")
    ApiKey.objects.filter(pk=row.pk).update(scopes=["chat"])
    status, code, message = async_to_sync(error_of)(f"Bearer {key}")
    assert (status, code) == (403, "insufficient_scope")
    assert "“models”" in message
