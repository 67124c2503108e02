"""Which of the offered models answers a message."""

from __future__ import annotations

from django.utils.translation import gettext

from chat.errors import RequestRefused
from chat.models import rows
from chat.models.catalog import Endpoint, Model

OFFERED = "chat_endpoint.id = endpoint_id AND chat_endpoint.is_enabled = %s AND chat_model.is_enabled = %s"


def choose_model(model_id: int | None, default_id: int | None = None) -> Model:
    """Return the chosen model, else the one with `default_id`, else the site's default.

    Raises RequestRefused `no_model` if the chosen one is unavailable or there is none at all.
    """
    if model_id is not None:
        model = _offered(model_id)
        if model is None:
            raise RequestRefused(
                "no_model", gettext("This model is no longer available. Choose another one.")
            )
        return model
    model = (None if default_id is None else _offered(default_id)) or _first_offered()
    if model is None:
        raise RequestRefused(
            "no_model",
            gettext(
                "No model is set up. An administrator can add one in the admin, "
                "or set OPENAI_API_KEY and restart the server."
            ),
        )
    return model


def _offered(model_id: int) -> Model | None:
    """Return this model with its endpoint if users can choose it: `offered`, for one model."""
    return None if model_id > rows.NUMBER_MAX else _first(f"{OFFERED} AND chat_model.id = %s", model_id)


def _first_offered() -> Model | None:
    """Return the site's default with its endpoint: the first one of `offered`."""
    return _first(f"{OFFERED} ORDER BY is_default DESC, label, chat_model.name")


def _first(condition: str, *parameters: int) -> Model | None:
    found = rows.first_of_both(Model, Endpoint, condition, [True, True, *parameters])
    if found is None:
        return None
    model, endpoint = found
    model.endpoint = endpoint
    return model
