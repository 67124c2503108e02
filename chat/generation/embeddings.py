"""Embeddings for programs: the call of the model, within the limits of the key, and a row of what it used."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from chat import upstream
from chat.generation import routing
from chat.generation.budgets import EmbeddingHold, hold_embeddings
from chat.generation.concurrency import key_limits
from chat.generation.runner import GenerationRunner
from chat.generation.usage import estimate_tokens
from chat.models.api_key import ApiKey
from chat.models.budget import presence
from chat.models.catalog import Model
from chat.models.embedding_call import EmbeddingCall
from chat.models.prices import MILLION
from chat.upstream import errors


async def embed(
    runner: GenerationRunner, key: ApiKey, model: Model, parameters: dict[str, Any], inputs: int
) -> upstream.Embeddings:
    """Return embeddings, and store what they used. Raises UpstreamError, BudgetExceeded.

    `parameters`: those of the OpenAI API, without the model. `inputs`: how many texts they contain.
    """
    started_s = time.monotonic()
    call = EmbeddingCall(
        user_id=key.user_id,
        api_key=key,
        model_name=model.name,
        endpoint_name=model.endpoint.name,
        inputs=inputs,
    )
    hold = await _hold(runner, key, model, parameters)
    found = None
    try:
        async with runner.gate.slot(key_limits(key), _ignore):
            route = await routing.find([model], runner.local_model)
            found = await upstream.embed(
                route.targets[0],
                parameters,
                client=runner.client,
                state=runner.upstream_state,
                user=key.user_id,
            )
    except errors.UpstreamError as exc:
        call.error_code = exc.code
        raise
    finally:
        call.duration_s = time.monotonic() - started_s
        if found is not None or call.error_code:
            _set_usage(call, model, found)
        if hold is not None or found is not None or call.error_code:
            await runner.log.writer.arun(partial(_save, call, hold))
    return found


async def _hold(
    runner: GenerationRunner, key: ApiKey, model: Model, parameters: dict[str, Any]
) -> EmbeddingHold | None:
    """Reserve what the request may use. Raises BudgetExceeded."""
    if presence.is_known_empty:
        return None
    tokens = tokens_of_input(parameters.get("input", ""))
    reserve = partial(hold_embeddings, key.user_id, key.pk, model, tokens, runner.process_id)
    return await runner.log.writer.arun(reserve)


def tokens_of_input(value: Any) -> int:
    """Estimate the tokens of a text, of a list of token ids, or of a list of either."""
    if isinstance(value, str):
        return estimate_tokens(value)
    if not isinstance(value, list):
        return 0
    texts = [each for each in value if isinstance(each, str)]
    ids = sum(len(each) if isinstance(each, list) else isinstance(each, int) for each in value)
    return estimate_tokens(" ".join(texts)) + ids


def _save(call: EmbeddingCall, hold: EmbeddingHold | None) -> None:
    if call.calls or call.error_code:
        call.save()
    if hold is not None:
        hold.settle(call.input_tokens, call.cost_usd)


async def _ignore(position: int) -> None:
    """Nobody watches the position of such a request."""


def _set_usage(call: EmbeddingCall, model: Model, found: upstream.Embeddings | None) -> None:
    if found is None:
        return
    call.calls = found.calls
    call.input_tokens = found.usage.prompt_tokens if found.usage is not None else None
    if call.input_tokens is not None and model.input_usd_per_million is not None:
        call.cost_usd = model.input_usd_per_million * call.input_tokens / MILLION
