"""The colours of code are all there, in both themes, and can be read."""

import re

import pytest
from django.conf import settings

from chat import rendering

SURFACES = {"light": "#f6f7f8", "dark": "#16181d"}


def css() -> str:
    return (settings.BASE_DIR / "static/chat/highlight.css").read_text()


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    brighter, darker = sorted([luminance(one), luminance(other)], reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def palettes() -> list[tuple[str, dict[str, str]]]:
    light, system_dark, chosen_dark = re.findall(r":root[^{]*\{([^{}]*--code[^{}]*)\}", css())
    read = [dict(re.findall(r"(--code-\w+): (#\w{6})", block)) for block in (light, system_dark, chosen_dark)]
    return list(zip(["light", "dark", "dark"], read, strict=True))


def test_every_class_that_code_can_carry_has_a_style():
    assert set(re.findall(r"\.code \.(\w+)", css())) == set(rendering._CLASSES.values())


def test_every_theme_names_every_colour():
    assert len({frozenset(palette) for _theme, palette in palettes()}) == 1
    assert palettes()[1][1] == palettes()[2][1]


@pytest.mark.parametrize(("theme", "palette"), palettes(), ids=["light", "system-dark", "chosen-dark"])
def test_every_colour_can_be_read(theme, palette):
    for name, colour in palette.items():
        assert contrast(colour, SURFACES[theme]) >= 4.5, name
