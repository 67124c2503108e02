"""From catalogue rows to what `upstream` calls, and from its errors to words for people."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from django.conf import settings
from django.utils.translation import gettext

from chat import upstream
from chat.local_model import supervisor as local_model
from chat.models.catalog import Endpoint, Model
from chat.models.process import PROCESS_ID
from chat.upstream import errors

QUEUE_MAX = upstream.WAITING_MAX


@dataclass(frozen=True, slots=True)
class Route:
    """A model and its fallbacks, as `upstream` calls them and as rows.

    `problem`: why it begins with a fallback, if it does.
    """

    targets: list[upstream.Target]
    models: dict[upstream.Target, Model]
    problem: errors.UpstreamError | None = None


async def find(models: Sequence[Model]) -> Route:
    """Return where and how to call `models`. Raises UnknownModel, NotRunning."""
    if not models:
        raise errors.UnknownModel("its row was deleted")
    found: dict[upstream.Target, Model] = {}
    problem: errors.UpstreamError | None = None
    for model in models:
        try:
            found[_target_of(model, *await _address(model.endpoint, may_wait=model is models[0]))] = model
        except errors.NotRunning as exc:
            problem = exc if model is models[0] else problem
    if not found:
        assert problem is not None
        raise problem
    return Route(list(found), found, problem)


def _target_of(model: Model, base_url: str, api_key: str) -> upstream.Target:
    return upstream.Target(
        base_url=base_url,
        api_key=api_key,
        model=model.name,
        endpoint=model.endpoint.name,
        timeouts=_timeouts(model),
        finish_reason_optional=model.endpoint.finish_reason_optional,
        max_output_tokens=model.max_output_tokens,
        context_tokens=model.context_tokens,
        slots=model.endpoint.slots,
        continues=model.continuation != Model.Continuation.NONE,
    )


def new_ladder() -> upstream.UpstreamState:
    """Return breakers and lines after the settings."""
    shared = None
    if settings.REDIS_URL:
        from chat.runtime.redis_slots import RedisSlots

        shared = RedisSlots(settings.REDIS_URL, process=PROCESS_ID, lease_s=settings.PROCESS_DEAD_AFTER_S)
    return upstream.UpstreamState(upstream.BreakerPolicy(**settings.BREAKER_POLICY), shared=shared)


_RECOVERIES = {
    "complete": frozenset(upstream.Recovery),
    "continue": frozenset({upstream.Recovery.CONTINUE}),
    "keep": frozenset[upstream.Recovery](),
}


def policy() -> upstream.Policy:
    """Return how patiently calls are tried again, after the settings."""
    return upstream.Policy(recoveries=_RECOVERIES[settings.RECOVERY], **settings.RETRY_POLICY)


def describe(exc: errors.UpstreamError, model: Model | None, *, is_final: bool = True) -> str:
    """Say to the person who asked what happened and, at the end of it, what they can do."""
    texts = [exc.user_message, exc.advice] if is_final else [exc.user_message]
    wait = gettext(" in %(wait_s)d s") % {"wait_s": ceil(exc.retry_after_s)} if exc.retry_after_s else ""
    places = {
        "model": str(model or gettext("This model")),
        "endpoint": _host_of(model.endpoint) if model else gettext("The endpoint"),
        "wait": wait,
        "detail": exc.detail,
    }
    return " ".join(gettext(text) % places for text in texts).strip()


def _timeouts(model: Model) -> upstream.Timeouts:
    """Return the model's own time-outs, the settings' where it has none."""
    return upstream.Timeouts(
        connect_s=model.connect_timeout_s or settings.CONNECT_TIMEOUT_S,
        first_token_s=model.first_token_timeout_s or settings.FIRST_TOKEN_TIMEOUT_S,
        # A model whose own row gives it longer is known to think before it speaks.
        first_token_with_fallback_s=(
            model.first_token_timeout_s or settings.FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S
        ),
        stall_s=model.stall_timeout_s or settings.STALL_TIMEOUT_S,
        total_s=model.total_timeout_s or settings.TOTAL_TIMEOUT_S,
    )


async def _address(endpoint: Endpoint, *, may_wait: bool) -> tuple[str, str]:
    """Return the base URL and key of an endpoint; the embedded one has new ones at each start.

    `may_wait`: until it has started. Raises NotRunning.
    """
    if not endpoint.is_embedded:
        return endpoint.base_url, os.environ.get(endpoint.api_key_env, "").strip()
    model = local_model.current()
    if model is None:
        raise errors.NotRunning(gettext("It runs inside `manage.py serve` only."))
    if not may_wait and model.state is not local_model.ModelState.READY:
        raise errors.NotRunning(gettext("It is still starting."))
    if not await model.wait_ready():
        raise errors.NotRunning(model.message)
    return model.base_url, model.api_key


def _host_of(endpoint: Endpoint) -> str:
    """Return how people know an endpoint: by its host."""
    if endpoint.is_embedded:
        return gettext("The demo model")
    return endpoint.base_url.split("//")[-1].split("/")[0] or endpoint.name
