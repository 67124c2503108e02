"""Compare what was counted of each call with what the provider sent."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import django

CALLS = """
SELECT a.request_id, a.generation_id, a.number, a.outcome, a.input_tokens, a.output_tokens,
a.is_usage_estimated, q.text FROM chat_attempt a JOIN chat_generation g ON g.id = a.generation_id
JOIN chat_message m ON m.id = g.message_id JOIN chat_message q ON q.id = m.parent_id
WHERE g.finished_at IS NOT NULL
"""
# Of an estimate, and the tokens by which it may be off in any case: texts are cut within words.
TOLERANCE, TOLERANCE_TOKENS = 0.1, 2
# After other faults the provider goes on for a moment, or what is on its way is destroyed.
ENDED_BY_PROVIDER = {"cut", "error", "event_error"}


@dataclass(frozen=True)
class CountedCall:
    """An attempt as it is in the database."""

    request_id: str
    generation: int
    number: int
    outcome: str
    input_tokens: int | None
    output_tokens: int | None
    is_estimated: bool
    question: str


def check_usage(
    fetch: Callable[[str], list[tuple[Any, ...]]], requests: list[dict[str, Any]]
) -> tuple[list[str], dict[str, str]]:
    """Return what is wrong with the usage of all calls, and how many were compared."""
    calls = [CountedCall(*row) for row in fetch(CALLS)]
    records = {request["id"]: request for request in requests}
    failures: list[str] = []
    ids = Counter(call.request_id for call in calls if call.request_id)
    failures += [f"{name} is counted {count} times" for name, count in ids.items() if count > 1]
    equal = 0
    for call in calls:
        record = records.get(call.request_id)
        sent = record["usage"] if record is not None else None
        if sent is not None:
            counted = (call.input_tokens, call.output_tokens, bool(call.is_estimated))
            if counted != (sent["prompt_tokens"], sent["completion_tokens"], False):
                failures.append(f"{call} is not {sent}")
            equal += 1
        elif call.output_tokens and not call.request_id and not call.is_estimated:
            failures.append(f"{call} is not marked as an estimate")
        if call.outcome == "completed" and not call.request_id:
            failures.append(f"{call} does not name its request")
    failures += _missing(calls, requests)
    estimates, wrong = _estimates(calls, requests)
    return failures + wrong, {
        "calls with the provider's usage": str(equal),
        "estimates": str(sum(bool(call.is_estimated) for call in calls)),
        "of these compared": str(estimates),
    }


def _missing(calls: Iterable[CountedCall], requests: Iterable[dict[str, Any]]) -> list[str]:
    """Return the questions that the provider was sent more often than calls were counted."""
    counted = Counter(call.question for call in calls)
    sent = Counter(request["question"] for request in requests)
    return [
        f"{question!r} was sent {sent[question]} times, and counted {count} times"
        for question, count in counted.items()
        if sent[question] > count
    ]


def _estimates(calls: list[CountedCall], requests: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Compare the estimates of calls that the provider cut. A killed server need not have got all of it."""
    by_question: dict[str, list[CountedCall]] = defaultdict(list)
    for call in calls:
        by_question[call.question].append(call)
    sent = {(request["question"], request["attempt"]): request for request in requests}
    compared, wrong = 0, []
    for question, own in by_question.items():
        if any(call.outcome == "lost" for call in own):
            continue
        for call in own:
            record = sent.get((question, call.number))
            is_cut = record is not None and record["outcome"] in ENDED_BY_PROVIDER
            if record is None or not is_cut or not call.is_estimated or call.outcome != "failed":
                continue
            compared += 1
            tokens = _tokens(record["thinking"] + record["text"])
            if abs((call.output_tokens or 0) - tokens) > TOLERANCE * tokens + TOLERANCE_TOKENS:
                wrong.append(f"{call} was sent about {tokens} tokens")
    return compared, wrong


def _tokens(text: str) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from chat.generation.usage import estimate_tokens

    return estimate_tokens(text)
