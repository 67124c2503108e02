"""Turn catalogue rows into the targets that `upstream` calls, and its errors into messages for users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from django.conf import settings
from django.utils.text import capfirst
from django.utils.translation import gettext

from chat import events, upstream
from chat.local_model.supervisor import LocalModel, ModelState
from chat.models import key_variable
from chat.models.api_request import ApiRequest
from chat.models.catalog import Endpoint, Model
from chat.models.generation import Generation
from chat.upstream import errors
from chat.upstream.private_networks import is_private

QUEUE_MAX = upstream.WAITING_MAX


@dataclass(frozen=True, slots=True)
class Route:
    """A model and its fallbacks, as `upstream` calls them and as rows.

    `problem`: why the route starts with a fallback, if it does.
    """

    targets: list[upstream.Target]
    models: dict[upstream.Target, Model]
    problem: errors.UpstreamError | None = None


async def find(models: Sequence[Model], local_model: LocalModel | None) -> Route:
    """Return where and how to call `models`. Raises UnknownModel, NotRunning.

    `local_model`: the embedded model of this process, if it runs one.
    """
    if not models:
        raise errors.UnknownModel("its row was deleted")
    found: dict[upstream.Target, Model] = {}
    problem: errors.UpstreamError | None = None
    for model in models:
        try:
            address = await _address(model.endpoint, local_model, may_wait=model is models[0])
            found[_target_of(model, *address)] = model
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
        refused=frozenset(model.refused_parameters),
    )


def new_upstream_state(shared: upstream.SharedSlots | None) -> upstream.UpstreamState:
    """Return the breakers, slots and queues of a process, with the limits of the settings.

    `shared`: where slots are counted for all processes; None: each takes its part.
    """
    return upstream.UpstreamState(
        upstream.BreakerPolicy(**settings.BREAKER_POLICY),
        interactive_share=settings.INTERACTIVE_SHARE,
        shared=shared,
    )


_RECOVERIES = {
    "complete": frozenset(upstream.Recovery),
    "continue": frozenset({upstream.Recovery.CONTINUE}),
    "keep": frozenset[upstream.Recovery](),
}


def policy(request: ApiRequest | None = None) -> upstream.Policy:
    """Return how often and how patiently the calls of a request are retried, by the settings."""
    can_recover = request is None or not request.has_choices
    recoveries = _RECOVERIES[settings.RECOVERY] if can_recover else frozenset[upstream.Recovery]()
    return upstream.Policy(recoveries=recoveries, **settings.RETRY_POLICY)


def describe(exc: errors.UpstreamError, model: Model | None, *, is_final: bool = True) -> str:
    """Return what happened, in words for users, and (`is_final`) what they can do about it."""
    texts = exc.texts if is_final else exc.texts[:1]
    wait = gettext(" in %(wait_s)d s") % {"wait_s": ceil(exc.retry_after_s)} if exc.retry_after_s else ""
    places = {
        "model": str(model or gettext("this model")),
        "endpoint": _provider_of(model) if model else gettext("the provider"),
        "wait": wait,
        "detail": exc.detail,
    }
    return " ".join(_sentence(gettext(text), places) for text in texts).strip()


def failure_of(exc: Exception, model: Model) -> events.Failed | None:
    """Return how a program's request failed; None if `exc` is not an error of an endpoint."""
    if not isinstance(exc, errors.UpstreamError):
        return None
    return events.Failed(exc.code, describe_to_program(exc, model), exc.retry_after_s, exc.param)


def describe_to_program(exc: errors.UpstreamError, model: Model | None) -> str:
    """Return what happened, in words for a program's developer, who can use the endpoint's own."""
    if not isinstance(exc, errors.Rejected) or not exc.detail:
        return describe(exc, model)
    texts = [describe(exc, model, is_final=False), exc.detail]
    if isinstance(exc, errors.ContextTooLong) and exc.limit_tokens is not None:
        # Client libraries know this error by OpenAI's sentence.
        known = f"maximum context length is {exc.limit_tokens} tokens"
        if known not in exc.detail:
            texts.insert(1, f"This model's {known}.")
    return " ".join(texts)


def _sentence(text: str, places: dict[str, str]) -> str:
    """Fill in the placeholders. “the provider” is capitalized at the start of the sentence, names are not."""
    filled = text % places
    descriptions = (gettext("this model"), gettext("the provider"), gettext("the demo model"))
    return capfirst(filled) if filled.startswith(descriptions) else filled


def _timeouts(model: Model) -> upstream.Timeouts:
    """Return the model's own timeouts, the settings' where it has none."""
    return upstream.Timeouts(
        connect_s=model.connect_timeout_s or settings.CONNECT_TIMEOUT_S,
        first_token_s=model.first_token_timeout_s or _first_token_s(model.endpoint.base_url),
        # A model whose own row allows longer is known to think before it answers.
        first_token_with_fallback_s=(
            model.first_token_timeout_s or settings.FIRST_TOKEN_WITH_FALLBACK_TIMEOUT_S
        ),
        stall_s=model.stall_timeout_s or settings.STALL_TIMEOUT_S,
        total_s=model.total_timeout_s or settings.TOTAL_TIMEOUT_S,
    )


def _first_token_s(base_url: str) -> float:
    """Return the default patience with an endpoint. One in a private network may have to load its model."""
    if is_private(base_url):
        return settings.FIRST_TOKEN_PRIVATE_TIMEOUT_S
    return settings.FIRST_TOKEN_TIMEOUT_S


async def _address(endpoint: Endpoint, local_model: LocalModel | None, *, may_wait: bool) -> tuple[str, str]:
    """Return the base URL and key of an endpoint; the embedded model's change at each start.

    `may_wait`: until it has started. Raises NotRunning.
    """
    if not endpoint.is_embedded:
        return endpoint.base_url, key_variable.key_of(endpoint.api_key_env)
    if local_model is None:
        raise errors.NotRunning(gettext("It runs only inside `manage.py serve`."))
    if not may_wait and local_model.state is not ModelState.READY:
        raise errors.NotRunning(gettext("It is still starting."))
    if not await local_model.wait_ready():
        raise errors.NotRunning(local_model.message)
    return local_model.base_url, local_model.api_key


def _provider_of(model: Model) -> str:
    """Return the words by which users know a model's endpoint. Its address is for staff."""
    if model.endpoint.is_embedded:
        return gettext("the demo model")
    return gettext("the provider of %(model)s") % {"model": model}


PRIORITY: dict[str, upstream.QueuePriority] = {
    Generation.Source.WEBSOCKET: upstream.QueuePriority.INTERACTIVE,
    Generation.Source.FORM: upstream.QueuePriority.INTERACTIVE,
    Generation.Source.API: upstream.QueuePriority.API,
    Generation.Source.COMMAND: upstream.QueuePriority.API,
    Generation.Source.BATCH: upstream.QueuePriority.BULK,
    Generation.Source.TITLE: upstream.QueuePriority.BULK,
}
