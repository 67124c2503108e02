"""The catalog: the route of a model and the checks of its fallbacks."""

import pytest
from django.core.exceptions import ValidationError

from chat.errors import RequestRefused
from chat.models import Endpoint, Fallback, Model
from chat.models.model_choice import choose_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(db):
    endpoint = Endpoint.objects.create(name="other", base_url="http://127.0.0.1:9/v1")
    return Model.objects.create(endpoint=endpoint, name="other")


def test_a_route_is_the_model_and_its_fallbacks_in_order(model, other, django_assert_num_queries):
    third = Model.objects.create(endpoint=other.endpoint, name="third")
    Fallback.objects.create(model=model, fallback=other, position=2)
    Fallback.objects.create(model=model, fallback=third, position=1)
    with django_assert_num_queries(2):
        route = model.route()
        assert [each.endpoint.name for each in route] == ["nowhere", "other", "other"]
    assert route == [model, third, other]
    assert other.route() == [other]


def test_a_route_stays_within_its_confidentiality_class(model, other):
    Fallback.objects.create(model=model, fallback=other)
    other.endpoint.confidentiality = "public"
    other.endpoint.save()
    assert model.route() == [model]


@pytest.mark.parametrize("field", ["model", "endpoint"])
def test_a_route_excludes_disabled_models_and_endpoints(model, other, field):
    Fallback.objects.create(model=model, fallback=other)
    row = other if field == "model" else other.endpoint
    row.is_enabled = False
    row.save()
    assert model.route() == [model]


def test_a_form_refuses_a_fallback_of_a_different_confidentiality_class(model, other):
    other.endpoint.confidentiality = "public"
    with pytest.raises(ValidationError, match="different confidentiality class"):
        Fallback(model=model, fallback=other).full_clean()


def test_a_form_refuses_a_model_as_its_own_fallback(model):
    with pytest.raises(ValidationError, match="its own fallback"):
        Fallback(model=model, fallback=model).clean()


def test_without_a_choice_the_first_offered_model_answers(model, other):
    other.is_default = True
    other.save()
    chosen = choose_model(None)
    assert chosen == other == Model.objects.offered().first()
    assert chosen.endpoint == other.endpoint
    other.endpoint.is_enabled = False
    other.endpoint.save()
    assert choose_model(None) == model == Model.objects.offered().first()
    model.endpoint.is_enabled = False
    model.endpoint.save()
    with pytest.raises(RequestRefused) as refused:
        choose_model(None)
    assert refused.value.code == "no_model"
