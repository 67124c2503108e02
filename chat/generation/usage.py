"""Count the tokens and the cost of an answer: as the endpoint reports them, else by an estimate."""

from __future__ import annotations

from chat import upstream
from chat.generation.prompt import tokens_in
from chat.models.catalog import Model
from chat.models.generation import Generation


def count_usage(
    generation: Generation,
    reported: upstream.Usage | None,
    model: Model | None,
    *,
    prompt_tokens: int,
    answer: str,
) -> None:
    """Set tokens and cost of a generation; does not save.

    `reported`: the endpoint's numbers. Without them, `prompt_tokens`, an estimate, and `answer` count; an
    answer without text is not counted at all. `model`: the one that answered, for its prices.
    """
    if reported and reported.prompt_tokens is not None and reported.completion_tokens is not None:
        generation.set_usage(
            reported.prompt_tokens, reported.completion_tokens, is_estimated=False, model=model
        )
    elif answer:
        generation.set_usage(prompt_tokens, tokens_in(answer), is_estimated=True, model=model)
