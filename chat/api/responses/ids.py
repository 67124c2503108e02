"""The ids of responses and their items: made from the id of the generation, so that they need no storage.

A response is `resp_123`. Its items are numbered by kind: `rs_123_0` (reasoning), `msg_123_0` (message),
`fc_123_0` (function call), `ig_123_0` (picture). Items of the input have `in` between: `msg_123_in0`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

RESPONSE_PREFIX = "resp_"
_DIGITS_MAX = 18
_ITEM = re.compile(
    r"(?P<kind>rs|msg|fc|fco|ig)_(?P<response>[0-9]{1,18})_(?P<input>in)?(?P<number>[0-9]{1,9})"
)


class ItemId(NamedTuple):
    """The parts of an item's id: its kind (`rs`, `msg`, `fc`, `fco`, `ig`), its generation, and its place."""

    kind: str
    generation_id: int
    is_input: bool
    number: int


def response_id(generation_id: int) -> str:
    return f"{RESPONSE_PREFIX}{generation_id}"


def generation_id_of(response: str) -> int | None:
    """Return the primary key in the id of a response, or None if there is no valid one."""
    digits = response.removeprefix(RESPONSE_PREFIX)
    is_id = digits != response and digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX
    return int(digits) if is_id else None


def item_id(kind: str, generation_id: int, number: int, *, is_input: bool = False) -> str:
    return f"{kind}_{generation_id}_{'in' if is_input else ''}{number}"


def parse_item_id(value: str) -> ItemId | None:
    """Return the parts of an item's id, or None if it is none of ours."""
    match = _ITEM.fullmatch(value)
    if match is None or not value.isascii():
        return None
    return ItemId(match["kind"], int(match["response"]), bool(match["input"]), int(match["number"]))
