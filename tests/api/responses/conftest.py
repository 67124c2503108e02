"""One server and one provider for the tests of a file that do not mind each other's requests."""

import pytest

from tests.api.conftest import MANY_MODELS, QUICK_RETRIES, Api
from tests.support.server_settings import overridden
from tests.support.serving import ProviderOfTest, serving


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory, prepared_data):
    """A started Api."""
    with (
        ProviderOfTest.running() as provider,
        serving(tmp_path_factory.mktemp("servers"), prepared_data) as serve,
    ):
        server = serve(
            provider.env_for_server | {"OPENAI_MODEL": MANY_MODELS} | overridden(RETRY_POLICY=QUICK_RETRIES)
        )
        server.sign_in()
        yield Api(server, provider)
