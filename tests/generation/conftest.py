import contextlib

import pytest

from chat.fakeprovider import FakeProvider
from chat.models import Endpoint, Model
from tests.generation.support import Life
from tests.support.runtime import open_runtime


@pytest.fixture
def living(user):
    """Return a context manager: a Life whose default model is a fake provider's."""

    @contextlib.asynccontextmanager
    async def live(**fields):
        async with FakeProvider() as provider, open_runtime() as runtime:
            endpoint = await Endpoint.objects.acreate(name="fake", base_url=provider.base_url)
            row = {"endpoint": endpoint, "name": "fake", "is_default": True} | fields
            await Model.objects.acreate(**row)
            yield Life(user, provider, runtime)

    return live
