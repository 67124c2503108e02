"""From catalogue rows to what `upstream` calls, and from its errors to words for people."""

from __future__ import annotations

import os

from django.conf import settings
from django.utils.translation import gettext

from chat import local_model, upstream
from chat.models.catalog import Endpoint, Model
from chat.upstream import errors


async def target_of(model: Model | None) -> upstream.Target:
    """Return where and how to call `model`. Raises UnknownModel, NotRunning."""
    if model is None:
        raise errors.UnknownModel("its row was deleted")
    base_url, api_key = await _address(model.endpoint)
    return upstream.Target(
        base_url=base_url,
        api_key=api_key,
        model=model.name,
        endpoint=model.endpoint.name,
        timeouts=_timeouts(model),
        finish_reason_optional=model.endpoint.finish_reason_optional,
        max_output_tokens=model.max_output_tokens,
    )


def describe(exc: errors.UpstreamError, model: Model | None) -> str:
    """Say to the person who asked what happened and what they can do."""
    wait = gettext(" in %(wait_s)d s") % {"wait_s": exc.retry_after_s} if exc.retry_after_s else ""
    return gettext(exc.user_message) % {
        "model": str(model or gettext("This model")),
        "endpoint": _host_of(model.endpoint) if model else gettext("The endpoint"),
        "wait": wait,
        "detail": exc.detail,
    }


def _timeouts(model: Model) -> upstream.Timeouts:
    """Return the model's own time-outs, the settings' where it has none."""
    return upstream.Timeouts(
        connect_s=model.connect_timeout_s or settings.CONNECT_TIMEOUT_S,
        first_token_s=model.first_token_timeout_s or settings.FIRST_TOKEN_TIMEOUT_S,
        stall_s=model.stall_timeout_s or settings.STALL_TIMEOUT_S,
        total_s=model.total_timeout_s or settings.TOTAL_TIMEOUT_S,
    )


async def _address(endpoint: Endpoint) -> tuple[str, str]:
    """Return the base URL and key of an endpoint; the embedded one has new ones at each start."""
    if not endpoint.is_embedded:
        return endpoint.base_url, os.environ.get(endpoint.api_key_env, "").strip()
    model = local_model.current()
    if model is None:
        raise errors.NotRunning(gettext("It runs inside `manage.py serve` only."))
    if not await model.wait_ready():
        raise errors.NotRunning(model.problem)
    return model.base_url, model.api_key


def _host_of(endpoint: Endpoint) -> str:
    """Return how people know an endpoint: by its host."""
    if endpoint.is_embedded:
        return gettext("The demo model")
    return endpoint.base_url.split("//")[-1].split("/")[0] or endpoint.name
