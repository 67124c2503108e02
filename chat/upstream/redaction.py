"""Removes from endpoints' messages what must not be shown: keys, URLs and hosts."""

from __future__ import annotations

import re

_KEY = re.compile(
    r"\b(?:(?:sk|rk|pk|key|bearer|token)[-_ ][A-Za-z0-9*_\-.]{6,}|AIza[\w-]{10,}|gsk_\w{6,}|xai-[\w-]{6,}"
    r"|hf_\w{6,}|r8_\w{6,}|nvapi-[\w-]{6,}|eyJ[\w-]{10,}(?:\.[\w-]+)*|[0-9a-fA-F]{32,}|[\w-]{40,})",
    re.IGNORECASE,
)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>)\]]+", re.IGNORECASE)
_HOST = re.compile(
    r"\b(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|(?:[a-z0-9-]+\.)+(?:com|net|org|io|ai|dev|app|cloud|local|lan"
    r"|internal|home|corp|svc|cluster|eu|de|fr|uk|us|cn|jp|in|co|example|test))(?::\d+)?\b"
    r"|\[[0-9a-f:]{3,}\](?::\d+)?|\b[a-z][a-z0-9-]*:\d{4,5}\b",
    re.IGNORECASE,
)
MAX_CHARS = 500


def redacted(text: str, api_key: str = "") -> str:
    """Return an endpoint's message without anything that looks like a key, a URL or a host, shortened."""
    if api_key:
        text = text.replace(api_key, "[key]")
    text = _URL.sub("[address]", text[: MAX_CHARS * 4])
    return _HOST.sub("[address]", _KEY.sub("[key]", text))[:MAX_CHARS]
