"""Settings of a test server that no environment variable sets: `overridden` gives its environment."""

import json
import os
from typing import Any

VARIABLE = "CHATSITE_TEST_SETTINGS"


def overridden(**changes: Any) -> dict[str, str]:
    """Return the environment of a server whose Django settings are changed so."""
    return {"DJANGO_SETTINGS_MODULE": __name__, VARIABLE: json.dumps(changes)}


if VARIABLE in os.environ:
    from chatsite.settings import *  # noqa: F403

    globals().update(json.loads(os.environ[VARIABLE]))
