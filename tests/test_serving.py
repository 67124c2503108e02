"""The harness around the real programs: they start, answer, die and come back."""

import urllib.request


def test_the_fake_provider_starts_and_says_where_it_is(provider):
    with urllib.request.urlopen(f"{provider.base_url}/models", timeout=10) as reply:
        assert reply.status == 200
