"""What the errors of the providers mean: one table over statuses, codes and wordings.

The shapes are those that the providers document or are known to send: OpenAI, Azure, Anthropic, Gemini,
Mistral, DeepSeek, OpenRouter, Groq, vLLM, llama.cpp, LM Studio and Ollama. An error object may be the body,
its `error`, the first element of a list, or JSON within a field of another error.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from chat.upstream import errors
from chat.upstream.waits import wait_in_message

type ErrorClass = type[errors.UpstreamError]


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


BY_STATUS: dict[int, ErrorClass] = {
    401: errors.WrongKey,
    402: errors.QuotaExhausted,
    403: errors.Forbidden,
    404: errors.UnknownModel,
    405: errors.WrongAddress,
    408: errors.ServerFailed,
    409: errors.ServerFailed,
    410: errors.UnknownModel,
    413: errors.ContextTooLong,
    429: errors.RateLimited,
    498: errors.ServerFailed,  # Groq: no capacity
}
# By the `code`, `type`, `status` or `reason` of an error object. The order decides.
BY_CODE: dict[str, ErrorClass] = {
    "context_length_exceeded": errors.ContextTooLong,
    "exceed_context_size_error": errors.ContextTooLong,
    "string_above_max_length": errors.ContextTooLong,
    "content_filter": errors.ContentFiltered,
    "content_policy_violation": errors.ContentFiltered,
    "responsibleaipolicyviolation": errors.ContentFiltered,
    "insufficient_quota": errors.QuotaExhausted,
    "billing_hard_limit_reached": errors.QuotaExhausted,
    "insufficient_credits": errors.QuotaExhausted,
    "insufficient_balance": errors.QuotaExhausted,
    "invalid_api_key": errors.WrongKey,
    "api_key_invalid": errors.WrongKey,
    "authentication_error": errors.WrongKey,
    "model_not_found": errors.UnknownModel,
    "deploymentnotfound": errors.UnknownModel,
    "model_not_available": errors.UnknownModel,
    "model_decommissioned": errors.UnknownModel,
    "unknown_model": errors.UnknownModel,
    "overloaded_error": errors.ServerFailed,
    "engine_overloaded": errors.ServerFailed,
    "service_unavailable": errors.ServerFailed,
    "unavailable": errors.ServerFailed,
    "unavailable_error": errors.ServerFailed,
    "rate_limit_exceeded": errors.RateLimited,
    "rate_limit_error": errors.RateLimited,
    "resource_exhausted": errors.RateLimited,
    "permission_denied": errors.Forbidden,
    "permission_error": errors.Forbidden,
}

CONTEXT = _pattern(
    r"maximum (context|prompt|sequence) length",
    r"context[_ ](length|window|size).{0,60}(exceed|too|limit|overflow|full)",
    r"(exceed|too long|overflow|larger|longer|greater).{0,60}context",
    r"prompt (is |contains |has )?(too long|too many tokens)",
    r"too many (input |prompt )?tokens",
    r"token count.{0,60}exceed",
    r"exceeds? the maximum (number of )?(allowed )?(input )?tokens",
    r"tokens?.{0,60}exceeds? the (model|limit|maximum)",
    r"input (is|length|was).{0,30}(too long|exceed)",
    r"reduce the length",
    r"too large for model with \d+ maximum context",
    r"not enough (context|room) .{0,40}(prompt|tokens)",
)
_CREDIT = _pattern(
    r"(insufficient|not enough|no|out of|low|more) (account )?(balance|credits?|funds|quota)",
    r"credit balance",
    r"balance (is )?(too low|insufficient|exhausted)",
    r"payment required",
    r"billing (hard )?limit",
    r"spend(ing)? limit",
    r"(run|ran) out of (credits?|funds)",
    r"(credits?|balance|funds) (is |are )?(depleted|exhausted|used up)",
    r"\bkey limit exceeded",
    r"account .{0,30}(arrears|overdue|suspended)",
)
_KEY = _pattern(
    r"(invalid|incorrect|wrong|missing|expired|revoked|bad|no)\b.{0,25}"
    r"(api[ _-]?key|token|credentials|subscription key)",
    r"api[ _-]?key.{0,25}(not valid|invalid|incorrect|expired|missing|required|not found|not provided)",
    r"unauthori[sz]ed",
    r"(authentication|authorization) (failed|error|required|header)",
    r"no auth credentials",
)
_MODEL = _pattern(
    r"model\b.{0,100}(not found|not exist|n't exist|unknown|not available|n't available|unavailable to you"
    r"|not supported|not loaded|decommissioned|deprecated|no longer|not a valid)",
    r"(unknown|invalid|unsupported|no such|not a valid) model",
    r"deployment.{0,60}(not exist|not found)",
    r"no endpoints found for",
    r"no models? (found|loaded)",
    r"try pulling it",
)
# OpenRouter: the model exists, but nobody who offers it accepts such a request.
_NO_MATCH = _pattern(r"no endpoints found (that|matching)")
# http:// in front of a port that speaks TLS: nginx, Go, Apache.
_PLAIN_ON_TLS = _pattern(
    r"plain http request was sent to https port", r"http request to an https server", r"speaking plain http"
)
_ADDRESS = _pattern(
    r"(invalid|unknown|unrecognized) (url|path|request url|endpoint|route)",
    r"^\W*(404 )?(page |route |path |resource |file )?not found\W*$",
    r"cannot (post|get)",
    r"no (route|handler)",
    r"unexpected endpoint",
    r"not_found_error",
)
_FILTERED = _pattern(
    r"content[ _]?(management )?(policy|filter)",
    r"responsible ai",
    r"(safety|moderation|usage polic).{0,60}(block|flag|reject|violat|system)",
    r"(block|flag|reject|violat)\w*.{0,60}(safety|moderation|polic)",
    r"requires moderation",
    r"inappropriate content",
    r"content exists risk",
    r"(input|prompt|content|request) (was|is|were|has been) (flagged|blocked|filtered)",
)
_OVERLOADED = _pattern(
    r"overloaded",
    r"at capacity|over capacity|capacity (exceeded|reached)",
    r"(server|engine|service|model) (is )?(currently )?(too )?(busy|unavailable|loading)",
    r"loading model|model is loading|currently loading",
    r"temporarily unavailable",
    r"no (available|healthy) (server|worker|upstream|backend)",
    r"model (has |is )?(crashed|unloaded)",
)
_RATE = _pattern(
    r"rate[ _-]?limit", r"too many requests", r"(requests|tokens) per (second|minute|hour|day|min)"
)
# A limit of the whole account, and not of one model.
_WHOLE_ENDPOINT = _pattern(
    r"all models", r"\baccount\b", r"\b(this|your) (api[ -]?)?key\b", r"\bip address\b"
)
_REFUSAL = _pattern(
    r"unsupported",
    r"(not|n't|no longer) (be )?(supported?|allowed|permitted|accepted|recogni[sz]ed|valid|available|used)",
    r"unknown|unrecogni[sz]ed|unexpected|extra inputs|extra fields|deprecated|invalid (value|parameter)",
    r"does(n't| not) (support|accept|allow)",
    r"only the default",
    r"use '?\w+'? instead",
    r"must (be|end)",
)
_SYSTEM_ROLE = _pattern(
    r"system (role|message|prompt|instruction)s?", r"role.{0,20}['\"`]?system\b", r"['\"`]system['\"`]"
)
_PREFILL = _pattern(
    r"prefill",
    r"(last|final) message.{0,60}(user|assistant)",
    r"(end|ends) with an? (user|assistant)",
    r"continue_final_message|add_generation_prompt",
)
_QUOTED = re.compile(r"['\"`]([A-Za-z_][\w.\[\]]*)['\"`]")
_NAMES = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b|\btemperature\b|\bstop\b|\bseed\b|\btools\b|\blogprobs\b")


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What an endpoint says about an error.

    `status`: of the response, or as named in the body; None if neither. `codes`: its machine-readable words,
    in lower case. `param`: the field of the request that it names. `is_object`: whether it is a JSON object.
    """

    status: int | None
    codes: tuple[str, ...]
    message: str
    param: str = ""
    is_object: bool = True
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def refused_parameters(self) -> tuple[str, ...]:
        """The parameters of the request that it may refuse, by name; `system` and `prefill` for turns."""
        if self.status not in (None, 400, 404, 422, 500, 501) or not _REFUSAL.search(self.message):
            return ()
        found = [self.param] if self.param else []
        found += _QUOTED.findall(self.message) + _NAMES.findall(self.message)
        is_about_turns = self.param in ("", "messages") or self.param.startswith("messages")
        if is_about_turns and _SYSTEM_ROLE.search(self.message):
            found.append("system")
        if is_about_turns and _PREFILL.search(self.message):
            found.append("prefill")
        return tuple(dict.fromkeys(found))

    @property
    def concerns_whole_endpoint(self) -> bool:
        """Whether a rate limit is one of the account, and not of one model."""
        return bool(_WHOLE_ENDPOINT.search(self.message))


def read(status: int | None, body: Any) -> ErrorReport:
    """Read an error from a body of any form."""
    found = list(_objects_in(body))
    codes = tuple(word for each in found for word in _codes_of(each))
    if status is None or status < 300:
        numbers = (int(word) for word in codes if word.isdigit())
        status = next((number for number in numbers if 400 <= number < 600), None)
    messages = list(dict.fromkeys(text for each in found for text in _messages_of(each)))
    message = " ".join(messages) if found else str(body or "")
    param = next((name for each in found if (name := _param_of(each))), "")
    values = {name: value for each in reversed(found) for name, value in each.items()}
    return ErrorReport(status, codes, message, param, bool(found), values)


def classify(report: ErrorReport) -> ErrorClass:
    """Return the class of an error."""
    kind = next((BY_CODE[code] for code in BY_CODE if code in report.codes), None)
    by_message = _by_message(report)
    if kind is None or (kind in _VAGUE and by_message is not None):
        kind = by_message or kind
    if kind is None and report.status is not None:
        kind = BY_STATUS.get(report.status) or _by_range(report.status)
    if kind is errors.UnknownModel and report.status == 404 and _is_address(report):
        return errors.WrongAddress
    if kind is None and report.status is None and _ADDRESS.search(report.message):
        return errors.WrongAddress
    return kind or errors.StreamedError


# Codes that some providers use for everything of a kind; the message says more.
_VAGUE = (errors.RateLimited, errors.Forbidden, errors.ServerFailed, errors.WrongKey)


def _by_message(report: ErrorReport) -> ErrorClass | None:
    """Return the class that the wording of an error names, if it fits the status."""
    status, text = report.status or 400, report.message
    if status == 400 and _PLAIN_ON_TLS.search(text[:1000]):
        return errors.WrongAddress
    if not report.is_object and status >= 400 and len(text) > 1000:
        return None  # a page
    if CONTEXT.search(text) and status != 429:
        return errors.ContextTooLong
    if _CREDIT.search(text) and wait_in_message(text) is None:
        return errors.QuotaExhausted
    if status == 429:
        return errors.RateLimited
    if status >= 500:
        return errors.ServerFailed
    if _FILTERED.search(text):
        return errors.ContentFiltered
    if _KEY.search(text):
        return errors.WrongKey
    if _NO_MATCH.search(text):
        return errors.Rejected
    if status in (400, 404, 422) and _MODEL.search(text) and not _is_parameter(report):
        return errors.UnknownModel
    if report.status in (None, 400) and _OVERLOADED.search(text):
        return errors.ServerFailed
    return errors.RateLimited if report.status is None and _RATE.search(text) else None


def _is_parameter(report: ErrorReport) -> bool:
    return report.param not in ("", "model") or "unsupported_parameter" in report.codes


def _is_address(report: ErrorReport) -> bool:
    """Whether a 404 is about the URL and not about the model."""
    if _MODEL.search(report.message) or report.param == "model":
        return False
    return not report.is_object or not report.message or bool(_ADDRESS.search(report.message))


def _by_range(status: int) -> ErrorClass:
    if status < 400:
        return errors.Redirected
    return errors.Rejected if status < 500 else errors.ServerFailed


def _objects_in(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the error objects in a body, the innermost first."""
    if depth > 6:
        return
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _objects_in(json.loads(value), depth + 1)
    elif isinstance(value, list):
        for item in value[:1]:
            yield from _objects_in(item, depth + 1)
    elif isinstance(value, dict):
        for name in ("error", "metadata", "raw", "innererror", "body"):
            yield from _objects_in(value.get(name), depth + 1)
        yield value


def _codes_of(value: dict[str, Any]) -> Iterator[str]:
    for name in ("code", "type", "status", "reason", "error_code"):
        if isinstance(value.get(name), str | int):
            yield str(value[name]).lower()
    details = value.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("reason"), str):
            yield detail["reason"].lower()


def _messages_of(value: dict[str, Any]) -> Iterator[str]:
    for name in ("message", "detail", "msg", "error", "error_message", "title"):
        text = value.get(name)
        if isinstance(text, str) and text.strip() and not text.lstrip().startswith("{"):
            yield text.strip()
        elif isinstance(text, list):  # FastAPI: a list of what is wrong with each field
            for item in text:
                if isinstance(item, dict) and isinstance(item.get("msg"), str):
                    place = item.get("loc")
                    yield f"{'.'.join(map(str, place)) if isinstance(place, list) else ''}: {item['msg']}"


def _param_of(value: dict[str, Any]) -> str:
    if isinstance(value.get("param"), str):
        return str(value["param"])
    detail = value.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else None
    place = first.get("loc") if isinstance(first, dict) else None
    names = [name for name in place or () if isinstance(name, str) and name != "body"]
    return names[0] if names else ""
