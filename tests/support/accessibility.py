"""axe-core on a page, in both themes: what breaks WCAG 2.2 A and AA, or good practice, seriously."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SERIOUS = {"serious", "critical"}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_axe = Axe()


def findings(page: Page, **options: object) -> list[str]:
    """Run axe and return its serious findings, a line for each element."""
    results = _axe.run(page, options={"resultTypes": ["violations"], **options}).response
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for violation in results["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


def _change_theme(page: Page, theme: Literal["light", "dark"]) -> None:
    """Change the system's theme, and have all colours arrive at it."""
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    # Asking for the animations starts those of the new style.
    page.evaluate(
        "for (const each of document.getAnimations()) if (each instanceof CSSTransition) each.finish()"
    )


def assert_accessible(page: Page) -> None:
    """Fail if axe finds something serious on the page as it is now, in the light or the dark theme.

    Only contrast depends on the theme. The page must follow the system's theme, and is light afterwards.
    """
    _change_theme(page, "light")
    found = findings(page, runOnly={"type": "tag", "values": TAGS})
    _change_theme(page, "dark")
    dark = findings(page, runOnly={"type": "rule", "values": ["color-contrast"]})
    _change_theme(page, "light")
    found += [f"dark: {line}" for line in dark]
    assert not found, "\n".join([page.url, *found])
