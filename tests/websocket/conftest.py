import contextlib

import pytest

from chat.fakeprovider import FakeProvider
from chat.models import Endpoint, Model
from tests.support.runtime import open_runtime


@pytest.fixture
def site():
    """Return a context manager: a fake provider, the default model on it, a runtime on this loop."""

    @contextlib.asynccontextmanager
    async def open_site():
        async with FakeProvider() as provider, open_runtime() as runtime:
            provider.runtime = runtime
            endpoint = await Endpoint.objects.acreate(name="fake", base_url=provider.base_url)
            await Model.objects.acreate(endpoint=endpoint, name="fake", is_default=True)
            yield provider

    return open_site
