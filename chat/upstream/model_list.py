"""The models that an endpoint lists, which costs nothing, and the base URL under which it lists them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from chat.upstream import errors, translate
from chat.upstream.base_url import corrections
from chat.upstream.client import Client

# By the name that servers give it; the size in use before the size that the model could have.
_CONTEXT_NAMES = (
    "loaded_context_length",
    "n_ctx",
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_context_window_tokens",
    "context_size",
    "max_sequence_length",
    "inputTokenLimit",
)
_NESTED_NAMES = ("meta", "top_provider", "limits", "capabilities", "model_info")
# Smaller and larger numbers mean something else.
CONTEXT_MIN, CONTEXT_MAX = 256, 100_000_000


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in an endpoint's list. `context_tokens`: None if the list does not say."""

    name: str
    context_tokens: int | None = None


async def list_models(client: Client, base_url: str, api_key: str, *, timeout_s: float) -> list[ListedModel]:
    """Return the models that `base_url`/models lists. Raises UpstreamError, also for what is no list."""
    answer = await client.read(f"{base_url.rstrip('/')}/models", api_key, timeout_s=timeout_s)
    body: Any = answer.body.decode(errors="replace")
    is_json = False
    with contextlib.suppress(ValueError, RecursionError):
        body, is_json = json.loads(body), True
    if answer.status != 200:
        error = translate.from_response(answer.status, body, api_key)
        # No list has a model in its URL, so what is not found is the list.
        raise (
            errors.WrongAddress(error.detail, status=answer.status) if answer.status in (404, 405) else error
        )
    entries = _entries(body)
    if entries is None:
        raise errors.WrongAddress("JSON that is not a list of models" if is_json else "a page, not JSON")
    return [ListedModel(name, context_in(entry)) for entry in entries for name in _names(entry)]


def _entries(body: Any) -> list[dict[str, Any]] | None:
    candidates = [body.get("data"), body.get("models")] if isinstance(body, dict) else [body]
    found = next((each for each in candidates if isinstance(each, list)), None)
    return None if found is None else [entry for entry in found if isinstance(entry, dict)]


def _names(entry: dict[str, Any]) -> Iterator[str]:
    name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str)), "")
    if name:
        yield name.removeprefix("models/")  # Gemini


def context_in(entry: dict[str, Any]) -> int | None:
    """Return the number of tokens that an entry of the list names as its context; None if it names none.

    If it names several, for example the model's and its provider's, the smallest applies.
    """
    found = [_context_of(entry), *map(_context_of, _nested(entry))]
    return min((size for size in found if size is not None), default=None)


def _nested(entry: dict[str, Any], depth: int = 2) -> Iterator[dict[str, Any]]:
    for name in _NESTED_NAMES if depth else ():
        if isinstance(inner := entry.get(name), dict):
            yield inner
            yield from _nested(inner, depth - 1)


def _context_of(fields: dict[str, Any]) -> int | None:
    return next((size for name in _CONTEXT_NAMES if (size := _size(fields.get(name))) is not None), None)


def _size(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and CONTEXT_MIN <= value <= CONTEXT_MAX else None


async def find_base_url(
    client: Client, base_url: str, api_key: str, error: errors.UpstreamError, *, timeout_s: float
) -> str | None:
    """Return the base URL under which the endpoint lists its models, although `base_url` failed with `error`.

    None if there is none at the same host and port, or if nothing answers there at all.
    """
    if isinstance(error, errors.WrongKey | errors.Forbidden | errors.UntrustedCertificate):
        return None
    # Some servers without TLS wait for the rest of what they take for a request.
    may_lack_tls = urlsplit(base_url).scheme.lower() == "https" and urlsplit(base_url).port is not None
    if isinstance(error, errors.ConnectTimedOut | errors.TooSlow) and not may_lack_tls:
        return None
    # A status means that the endpoint understood the request; 400 is how it answers HTTP on a TLS port.
    is_other_scheme_first = error.status in (None, 400) and "not JSON" not in error.detail
    for candidate in corrections(base_url, is_other_scheme_first=is_other_scheme_first):
        is_same_scheme = urlsplit(candidate).scheme == urlsplit(base_url).scheme.lower()
        # The key must not travel unencrypted only because of a guess.
        key = api_key if is_same_scheme else ""
        try:
            await list_models(client, candidate, key, timeout_s=timeout_s)
        except (errors.WrongKey, errors.Forbidden):
            return candidate
        except errors.UpstreamError:
            continue
        return candidate
    return None
