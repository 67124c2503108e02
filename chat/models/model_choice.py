"""Which of the offered models answers a message."""

from __future__ import annotations

from django.utils.translation import gettext

from chat.errors import RequestRefused
from chat.models import rows
from chat.models.catalog import Endpoint, Model

FIRST_OFFERED = """
is_enabled = %s AND endpoint_id IN (SELECT id FROM chat_endpoint WHERE is_enabled = %s)
ORDER BY is_default DESC, label, name LIMIT 1
"""


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
    model = rows.get(Model, id=model_id)
    return _with_endpoint(model) if model is not None and model.is_enabled else None


def _first_offered() -> Model | None:
    """Return the site's default with its endpoint: the first one of `offered`."""
    found = rows.select(Model, FIRST_OFFERED, [True, True])
    return _with_endpoint(found[0]) if found else None


def _with_endpoint(model: Model) -> Model | None:
    endpoint = rows.get(Endpoint, id=model.endpoint_id)
    if endpoint is None or not endpoint.is_enabled:
        return None
    model.endpoint = endpoint
    return model
