"""System checks of the environment, which `serve` and `manage.py check` print.

They find variables that nothing reads, and settings whose packages are not installed.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from chatsite.file_storage import BUCKET

TAG = "environment"
PREFIX = "CHATSITE_"
# Set by programs of ours for other programs of ours.
# The last are API keys of endpoints, see chat/models/key_variable.py.
UNCHECKED_PREFIXES = ("CHATSITE_TEST_", "CHATSITE_LOCAL_MODEL_", "CHATSITE_KEY_")
# Settings of earlier versions, which are constants now.
REMOVED = {
    "CHATSITE_ACK_WINDOW_BYTES",
    "CHATSITE_ADMISSION_QUEUE_MAX",
    "CHATSITE_BACKOFF_CAP_S",
    "CHATSITE_BACKOFF_FIRST_S",
    "CHATSITE_BACKOFF_TOTAL_S",
    "CHATSITE_BREAKER_CALLS_MIN",
    "CHATSITE_BREAKER_FAILURES_IN_A_ROW",
    "CHATSITE_BREAKER_FAILURE_PERCENT",
    "CHATSITE_BREAKER_OPEN_S",
    "CHATSITE_BREAKER_WINDOW_S",
    "CHATSITE_BULK_RUNNING_MAX",
    "CHATSITE_CALLS_PER_GENERATION",
    "CHATSITE_CALLS_PER_MODEL",
    "CHATSITE_LANGUAGE",
    "CHATSITE_LOG_KEPT_S",
    "CHATSITE_RECOVERIES_PER_GENERATION",
    "CHATSITE_RETRY_AFTER_MAX_S",
}


@register(TAG)
def unread_variables(app_configs: object = None, **_: Any) -> list[CheckMessage]:
    """Warn about each variable without effect: a spelling mistake, or a setting of an earlier version."""
    return [
        Warning(text, id="chatsite.W001") for text in messages(os.environ, settings.ENVIRONMENT_VARIABLES)
    ]


@register(TAG)
def packages_of_bucket(app_configs: object = None, **_: Any) -> list[CheckMessage]:
    """Report that the package for a bucket is not installed."""
    if settings.STORAGES["attachments"]["BACKEND"] != BUCKET or find_spec("boto3") is not None:
        return []
    text = "CHATSITE_ATTACHMENTS needs packages that are not installed."
    hint = "Run: pip install --require-hashes -r requirements/bucket.txt"
    return [Error(text, hint=hint, id="chatsite.E001")]


def messages(environ: Iterable[str], known: Iterable[str]) -> list[str]:
    names = {name for name in environ if name.startswith(PREFIX) and not name.startswith(UNCHECKED_PREFIXES)}
    return [_message(name, known) for name in sorted(names - set(known))]


def _message(name: str, known: Iterable[str]) -> str:
    if name in REMOVED:
        return f"{name} has no effect: it is a constant now. Remove it from the environment or from .env."
    similar = get_close_matches(name, known, n=1, cutoff=0.8)
    advice = f"Did you mean {similar[0]}?" if similar else "The README lists all settings."
    return f"{name} has no effect: there is no such setting. {advice}"
