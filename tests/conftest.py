"""What every test may use: people, signed-in clients, a model, and coroutine tests."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import channel_layers
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.core import serializers
from django.core.cache import cache
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client
from pytest_django.plugin import DjangoDbBlocker

from chat.models import Endpoint, Model
from tests.support import environment, programs

pytest_plugins = [
    "tests.support.services",
    "tests.support.bucket",
    "tests.support.serving",
    "tests.support.chat_page",
]

# A coroutine test that hangs fails after this long; the longest honest one takes a few seconds.
COROUTINE_TIMEOUT_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test through `async_to_sync`.

    Database work that it wraps in `sync_to_async` then runs on the main thread, inside the test's own
    transaction, and is rolled back. Fixtures stay sync.
    """
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}

    async def run() -> None:
        async with asyncio.timeout(COROUTINE_TIMEOUT_S):
            await test(**arguments)

    async_to_sync(run)()
    return True


@pytest.fixture(autouse=True, scope="session")
def _a_tests_transaction_is_left_alone() -> Iterator[None]:
    """Keep the connection of a test's own transaction open.

    Channels and the ASGI handler tidy connections around each call, and take one that is inside a
    transaction for one that was left behind.
    """
    tidy = BaseDatabaseWrapper.close_if_unusable_or_obsolete

    def tidy_unless_in_use(self: BaseDatabaseWrapper) -> None:
        if not self.in_atomic_block:
            tidy(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "close_if_unusable_or_obsolete", tidy_unless_in_use)
        yield


_store_rows_of_migrations = pytest.StashKey[Callable[[], None]]()


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, request: pytest.FixtureRequest
) -> None:
    """Create the test database, and remember the rows that migrations stored."""
    models: list[Any] = [Group, *apps.get_app_config("chat").get_models()]
    with django_db_blocker.unblock():
        found = [row for model in models for row in model.objects.all()]
        rows = serializers.serialize("json", found, use_natural_foreign_keys=True)

    def store() -> None:
        with django_db_blocker.unblock():
            for row in serializers.deserialize("json", rows):
                row.save()

    request.config.stash[_store_rows_of_migrations] = store


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Store those rows again after a test with transactions of its own, which empties all tables."""
    yield
    marker = item.get_closest_marker("django_db")
    is_transactional = "transactional_db" in getattr(item, "fixturenames", ())
    if nextitem and (is_transactional or (marker and marker.kwargs.get("transaction"))):
        item.config.stash[_store_rows_of_migrations]()


@pytest.fixture(autouse=True)
def _nothing_is_left_in_memory() -> Iterator[None]:
    """Forget what a test left in the cache (throttles) and the channel layer."""
    yield
    cache.clear()
    channel_layers.backends.clear()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by what they use: `server` (the real one, as a process), `database` (this process's)."""
    if not environment.is_full():
        thorough = [item for item in items if item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=thorough)
        items[:] = [item for item in items if item not in set(thorough)]
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if {"serve", "prepared_data"} & set(fixtures):
            item.add_marker("server")
        elif {"db", "transactional_db"} & set(fixtures) or item.get_closest_marker("django_db"):
            item.add_marker("database")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what this run could not test."""
    for program, package in programs.missing.items():
        terminalreporter.write_line(
            f"NOT TESTED: what needs {program}, which is missing here. Get it: apt-get install {package}",
            red=True,
            bold=True,
        )


@pytest.fixture
def user(db: None) -> User:
    return get_user_model().objects.create_user("ada", "ada@example.org", "correct horse")


@pytest.fixture
def other_user(db: None) -> User:
    return get_user_model().objects.create_user("bob", "bob@example.org", "battery staple")


@pytest.fixture
def staff(db: None) -> User:
    return get_user_model().objects.create_superuser("grace", "grace@example.org", "nanoseconds")


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """Return a function that returns a browser in which a user is signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def model(db: None) -> Model:
    """Return the default model, on an endpoint where nothing listens."""
    endpoint = Endpoint.objects.create(name="nowhere", base_url="http://127.0.0.1:9/v1")
    return Model.objects.create(endpoint=endpoint, name="test-model", is_default=True)


@pytest.fixture
def seeing_model(model: Model) -> Model:
    """Return the default model, which sees pictures."""
    model.sees_images = True
    model.save()
    return model
