"""What text may enter: everything Unicode can hold, less what no database or wire can carry."""

import re
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` without NUL characters and with lone surrogates replaced by U+FFFD."""
    return _LONE_SURROGATE.sub("�", text.replace("\x00", ""))


def clean_json(value: Any) -> Any:
    """Return a JSON value with every text in it cleaned, its keys too."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_json(each) for each in value]
        case dict():
            return {clean(key): clean_json(each) for key, each in value.items()}
    return value
