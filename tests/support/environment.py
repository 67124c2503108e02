"""The part of the developer's environment that tests, and the programs they start, may see."""

import os
from collections.abc import Mapping

_OURS = ("CHATSITE_", "OPENAI_", "AWS_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
# A developer sets these variables on purpose: to run everything on this PostgreSQL server, and to run what is
# random or repeated as often as the figures in the docs say.
KEPT = {"CHATSITE_TEST_DATABASE_URL", "CHATSITE_TEST_FULL"}


def is_full() -> bool:
    """Return whether CHATSITE_TEST_FULL=1 asks for thorough tests, and for all repetitions."""
    return os.environ.get("CHATSITE_TEST_FULL") == "1"


def repeats(full: int) -> int:
    """Return how often to repeat: `full` times with CHATSITE_TEST_FULL=1, else a fifth of it."""
    return full if is_full() else full // 5


def cleaned(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without Chatsite's configuration and proxies, and with `.env` files ignored."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in KEPT or not (name.startswith(_OURS) or name.lower().endswith("_proxy"))
    }
    return kept | {"PYTHON_DOTENV_DISABLED": "1"}


def clean() -> None:
    """Clean the environment of this process."""
    kept = cleaned(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(kept)
