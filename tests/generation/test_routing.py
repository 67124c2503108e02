"""What people read of a failed call, for every class of error."""

import pytest

from chat.generation import routing as route
from chat.models import Endpoint, Model
from chat.upstream import errors


def classes(kind=errors.UpstreamError):
    yield kind
    for below in kind.__subclasses__():
        yield from classes(below)


ALL = sorted(set(classes()), key=lambda kind: kind.__name__)
MODEL = Model(
    name="m-1", label="Model One", endpoint=Endpoint(name="e", base_url="https://api.example.org/v1")
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_says_what_happened_and_what_to_do(kind):
    exc = kind("The endpoint said sk-secret.")
    happened = route.describe(exc, MODEL, is_final=False)
    whole = route.describe(exc, MODEL)
    assert whole.startswith(happened)
    assert len(whole) > len(happened), "it does not say what to do"
    for text in (happened, whole):
        assert "%" not in text
        assert text.endswith(".")
        assert (
            "Model One" in text
            or "api.example.org" in text
            or kind.code in {"gave_up", "demo_model_unavailable", "process_lost"}
        )
    if kind is not errors.NotRunning:
        assert "secret" not in whole


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_of_a_model_that_is_gone_can_be_told_too(kind):
    assert route.describe(kind(), None).endswith(".")


def test_a_description_is_capitalized_only_at_the_start_of_a_sentence():
    demo = Model(name="m", label="gpt-m", endpoint=Endpoint(name="e", kind=Endpoint.Kind.EMBEDDED))
    assert (
        route.describe(errors.Unreachable(), demo, is_final=False) == "Could not connect to the demo model."
    )
    assert route.describe(errors.Busy(), demo, is_final=False) == "The demo model is busy."
    assert route.describe(errors.TooSlow(), demo, is_final=False) == "gpt-m took too long."
    assert route.describe(errors.TooSlow(), None, is_final=False) == "This model took too long."
    assert route.describe(errors.ContextTooLong(), None).startswith(
        "The conversation is too long for this model."
    )


def test_codes_are_one_to_a_class():
    codes = [kind.code for kind in ALL]
    assert len(codes) == len(set(codes))


def test_a_wait_that_the_endpoint_named_is_told():
    assert "12 s" in route.describe(errors.RateLimited(retry_after_s=11.2), MODEL)
