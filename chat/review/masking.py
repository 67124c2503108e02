"""Mask personal data by patterns: email addresses, phone and card numbers, and keys.

For staff without the permission `view_personal_data`, if CHATSITE_MASK_PERSONAL_DATA is on. Patterns find the
usual forms only: this keeps eyes from what a review does not need, and is no replacement for a redaction.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser, AnonymousUser

from chat import rendering

# The characters before and after the @ have a limit, so that no text makes the search slow.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_KEY = re.compile(
    r"\b(?:sk|pk|rk|cs|ghp|gho|ghs|github_pat|glpat|xox[abp]|hf|AKIA|AIza)[-_]?[A-Za-z0-9_-]{16,200}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,2000}"
)
# A run of digits with separators: 9 to 19 digits, told apart by their number and a checksum.
_DIGITS = re.compile(r"(?<![\w.,:/#-])\+?\(?\d(?:[ ()./-]{0,2}\d){8,18}(?![\w#])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

type Mask = Callable[[str], str]


def mask(text: str) -> str:
    """Return `text` with personal data replaced by what kind of data it was."""
    if "@" in text:
        text = _EMAIL.sub("⟦email⟧", text)
    text = _KEY.sub("⟦key⟧", text)
    return _DIGITS.sub(_masked_number, text)


def mask_for(user: AbstractUser | AnonymousUser) -> Mask:
    """Return the function that texts shown to `user` go through."""
    if not settings.MASK_PERSONAL_DATA or user.has_perm("chat.view_personal_data"):
        return _unchanged
    return mask


def is_masking(masks: Mask) -> bool:
    """Return whether this function, of `mask_for`, masks anything."""
    return masks is not _unchanged


def masked_html(masks: Mask, text: str, html: str) -> str:
    """Return the HTML of a text for a user: the stored one, or that of the masked text."""
    masked = masks(text)
    return html if masked == text else rendering.render(masked)


def mask_json(masks: Mask, value: Any) -> Any:
    """Return a JSON value in which every text is masked."""
    if masks is _unchanged:
        return value
    match value:
        case str():
            return masks(value)
        case list():
            return [mask_json(masks, item) for item in value]
        case dict():
            return {key: mask_json(masks, item) for key, item in value.items()}
    return value


def _unchanged(text: str) -> str:
    return text


def _masked_number(match: re.Match[str]) -> str:
    found = match.group()
    digits = "".join(character for character in found if character.isdigit())
    if len(digits) >= 13 and _has_card_checksum(digits):
        return "⟦card⟧"
    is_phone = len(digits) <= 15 and (found.startswith(("+", "(", "0")) or " " in found or "-" in found)
    return "⟦phone⟧" if is_phone and not _DATE.match(found) else found


def _has_card_checksum(digits: str) -> bool:
    """Return whether the last digit is right by the algorithm of Luhn."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if at % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
