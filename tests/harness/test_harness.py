"""What tests/conftest.py and tests/settings.py guarantee to every other test."""

import os
import threading

import pytest
from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from chat.models import Conversation
from tests.support import environment


def test_the_developers_environment_does_not_affect_tests():
    assert environment.cleaned(
        {
            "OPENAI_API_KEY": "secret",
            "OPENAI_BASE_URL": "http://example.org",
            "DATABASE_URL": "postgres://x",
            "REDIS_URL": "redis://x",
            "CHATSITE_DEBUG": "1",
            "https_proxy": "http://x",
            "NO_PROXY": "*",
            "PATH": "/bin",
        }
    ) == {"PATH": "/bin", "PYTHON_DOTENV_DISABLED": "1"}


def test_the_run_has_its_own_data_folder():
    assert settings.DATA_DIR != settings.BASE_DIR / "data"
    assert os.environ["CHATSITE_DATA_DIR"] == str(settings.DATA_DIR)


@pytest.mark.parametrize("turn", [1, 2])
async def test_rows_of_a_coroutine_test_are_rolled_back(user, turn):
    conversation = await Conversation.objects.acreate(user=user, title="x")
    again = await sync_to_async(Conversation.objects.get)()
    also = await database_sync_to_async(Conversation.objects.get)()
    assert again == also == conversation


async def test_a_coroutine_test_shares_the_connection_of_its_fixtures(user):
    assert await get_user_model().objects.filter(pk=user.pk).aexists()


@pytest.mark.django_db(transaction=True)
def test_another_thread_reads_and_writes_the_same_database():
    user = get_user_model().objects.create_user("writer")

    def write() -> None:
        try:
            with transaction.atomic():
                Conversation.objects.create(user_id=user.pk, title="from the thread")
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(10)

    assert Conversation.objects.get().title == "from the thread"


def test_a_signed_in_client_has_the_users_session(user, client_of):
    assert int(client_of(user).session["_auth_user_id"]) == user.pk
