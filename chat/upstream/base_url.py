"""Base URLs of endpoints: what people paste instead of them, and which ones they may have meant."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

# What clients add to a base URL.
ENDINGS = ("/chat/completions", "/completions", "/responses", "/models", "/embeddings", "/messages")
CORRECTIONS_MAX = 6


def ending_of(base_url: str) -> str:
    """Return the path at the end of a URL that clients add themselves; empty if there is none."""
    path = base_url.rstrip("/").lower()
    found = next((ending for ending in ENDINGS if path.endswith(ending)), "")
    return base_url.rstrip("/")[-len(found) :] if found else ""


def without_ending(base_url: str) -> str:
    """Return the base URL of a URL that may end with the path of a request."""
    while ending := ending_of(base_url):
        base_url = base_url.rstrip("/").removesuffix(ending)
    return base_url


def corrections(base_url: str, *, is_other_scheme_first: bool = False) -> list[str]:
    """Return base URLs at the same host and port that may be meant, the likeliest first.

    `is_other_scheme_first`: the endpoint does not speak the protocol of the URL's scheme.
    """
    same = list(_paths(base_url))
    other = [_with_other_scheme(url) for url in (base_url.rstrip("/"), *same[:2])]
    found = [*other, *same] if is_other_scheme_first else [*same, *other[:2]]
    return [url for url in dict.fromkeys(found) if url != base_url.rstrip("/")][:CORRECTIONS_MAX]


def _paths(base_url: str) -> Iterator[str]:
    stripped = without_ending(base_url).rstrip("/")
    root = urlunsplit(urlsplit(stripped)._replace(path=""))
    is_versioned = stripped.lower().endswith(("/v1", "/v1beta", "/v2", "/v3", "/v4"))
    yield stripped
    if not is_versioned:
        yield f"{stripped}/v1"
    if "/v1/" in stripped:
        yield stripped[: stripped.index("/v1/") + len("/v1")]
    yield f"{root}/v1"
    yield f"{root}/openai/v1" if is_versioned else f"{stripped}/openai/v1"


def _with_other_scheme(url: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"{'http' if scheme.lower() == 'https' else 'https'}://{rest}"
