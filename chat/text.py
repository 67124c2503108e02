"""What text may enter: everything Unicode can hold, less what no database or wire can carry."""

import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` without NUL characters and with lone surrogates replaced by U+FFFD."""
    return _LONE_SURROGATE.sub("�", text.replace("\x00", ""))
