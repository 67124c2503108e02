"""The part of the developer's environment that tests, and the programs they start, may see."""

import os
from collections.abc import Mapping

_OURS = ("CHATSITE_", "OPENAI_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
# A developer sets this variable on purpose, to run everything on this PostgreSQL server.
KEPT = {"CHATSITE_TEST_DATABASE_URL"}


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
