"""A server with a fake provider, and the official openai client, unmodified."""

import json
import urllib.request

import openai
import pytest

from tests.support.server_settings import overridden

MANY_MODELS = (
    "fake,fake:second,fake-cut-after-5:cut,fake-stall-after-5:stall,fake-malformed-after-5:malformed,"
    "fake-seed-9+hold-gate-after-30:other"
)
NEW_KEY = """
from django.contrib.auth import get_user_model
from chat.models import ApiKey
print(ApiKey.make(get_user_model().objects.get(username={user!r}), "tests")[1])
"""
QUICK_RETRIES = {"backoff_first_s": 0.05, "backoff_cap_s": 0.1}


class Api:
    """A running server and an API key of one of its users."""

    def __init__(self, server, provider):
        self.server, self.provider = server, provider
        self.key = self.new_key()
        self.base_url = f"{server.base_url}/v1"

    def new_key(self, user="ada"):
        return self.server.query(NEW_KEY.format(user=user))

    def client(self, **options):
        return openai.OpenAI(**self._options(options))

    def async_client(self, **options):
        return openai.AsyncOpenAI(**self._options(options))

    def _options(self, options):
        return {"base_url": self.base_url, "api_key": self.key, "max_retries": 0, "timeout": 30} | options

    def requests(self):
        """Return the requests that the provider received, oldest first."""
        root = self.provider.base_url.removesuffix("/v1")
        with urllib.request.urlopen(f"{root}/control/requests") as reply:
            return json.load(reply)["requests"]


@pytest.fixture
def api(serve, provider):
    """Return a function that starts an Api: `api(env)`."""

    def start(**env):
        server = serve(
            provider.env_for_server
            | {"OPENAI_MODEL": MANY_MODELS}
            | overridden(RETRY_POLICY=QUICK_RETRIES)
            | env
        )
        server.sign_in()
        return Api(server, provider)

    return start
