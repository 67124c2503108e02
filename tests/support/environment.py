"""What tests and the programs they start may see of the developer's environment."""

import os
from collections.abc import Mapping

_OURS = ("CHATSITE_", "OPENAI_", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
# The one variable of ours that a developer sets on purpose: run everything on this PostgreSQL server.
KEPT = {"CHATSITE_TEST_DATABASE_URL"}


def cleaned(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what configures Chatsite, without proxies, and with `.env` files ignored."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in KEPT or not (name.startswith(_OURS) or name.lower().endswith("_proxy"))
    }
    return kept | {"PYTHON_DOTENV_DISABLED": "1"}


def clean() -> None:
    """Make this process's own environment a cleaned one."""
    kept = cleaned(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(kept)
