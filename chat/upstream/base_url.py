"""Base URLs of endpoints and what people paste instead of them."""

from __future__ import annotations

# What clients add to a base URL.
ENDINGS = ("/chat/completions", "/completions", "/responses", "/models", "/embeddings", "/messages")


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
