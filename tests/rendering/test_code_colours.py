"""The colours of code are complete and readable in both themes."""

import re

import pytest
from django.conf import settings

from chat.rendering.highlight import CLASSES

# Of code on the chat page (tokens.css) and in Django's admin (--darkened-bg).
LIGHT_SURFACES = ["#f5f6f7", "#f8f8f8"]
DARK_SURFACES = ["#101113", "#212121"]


def css() -> str:
    return (settings.BASE_DIR / "static/chat/prose.css").read_text()


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


COLOURS = re.findall(r"--code-(\w+): light-dark\((#\w{6}), (#\w{6})\);", css())


def test_every_class_that_code_can_carry_has_a_style():
    assert set(re.findall(r"\.code \.(\w+)", css())) == set(CLASSES.values())


def test_every_colour_that_is_used_has_a_value_for_both_themes():
    assert set(re.findall(r"var\(--code-(\w+)\)", css())) == {name for name, _light, _dark in COLOURS}


@pytest.mark.parametrize(("name", "light", "dark"), COLOURS)
def test_every_colour_can_be_read_in_both_themes(name, light, dark):
    assert min(contrast(light, surface) for surface in LIGHT_SURFACES) >= 4.5
    assert min(contrast(dark, surface) for surface in DARK_SURFACES) >= 4.5
