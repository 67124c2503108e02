"""The environment variables that may hold the API key of an endpoint.

Staff choose both the address of an endpoint and the variable whose value is sent there. Without a list of
allowed names, they could read every secret of the server's environment.
"""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase

from django.conf import settings

NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
DEFAULT_PATTERNS = ("OPENAI_*", "CHATSITE_KEY_*")
OWN_KEY = "OPENAI_API_KEY"
# Even an entry of CHATSITE_API_KEY_VARIABLES does not allow these.
RESERVED_PREFIXES = ("CHATSITE_", "DJANGO_")


def is_allowed(name: str) -> bool:
    """Return whether the variable may hold a key: it is on the list, and it is no setting of this program."""
    if name == OWN_KEY:
        return True
    is_reserved = name.startswith(RESERVED_PREFIXES) and not name.startswith("CHATSITE_KEY_")
    if is_reserved or name in settings.ENVIRONMENT_VARIABLES:
        return False
    patterns = (*DEFAULT_PATTERNS, *settings.API_KEY_VARIABLES)
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def set_names() -> list[str]:
    """Return the variables of the server that hold a key, by their names: to propose them."""
    return sorted(name for name in os.environ if "KEY" in name and key_of(name))


def key_of(name: str) -> str:
    """Return the key in the variable; empty if there is no name, it is not allowed, or it has no value."""
    return os.environ.get(name, "").strip() if name and is_allowed(name) else ""
