"""The pages of an account that templates/page.html leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

PAGES = [
    ("settings", _("Settings")),
    ("organise", _("Organise")),
    ("bookmarks", _("Bookmarks")),
    ("batches", _("Batches")),
    ("library", _("Prompts and presets")),
    ("api_keys", _("API keys")),
    ("usage", _("Usage")),
    ("own_data", _("My data")),
    ("imports", _("Import")),
    ("shared_links", _("Shared links")),
    ("accesses", _("Who read my conversations")),
]


@dataclass(frozen=True, slots=True)
class PageTab:
    name: str
    url: str
    is_current: bool


class PageTabs:
    """The tabs of a request, made when a template reads them: most pages have none."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def __iter__(self) -> Iterator[PageTab]:
        for url_name, name in PAGES:
            if url_name != "accesses" or settings.ACCESS_VISIBLE_TO_USERS:
                url = reverse(url_name)
                yield PageTab(str(name), url, self._request.path.startswith(url))


def tabs(request: HttpRequest) -> dict[str, PageTabs]:
    """Context processor: the tabs."""
    return {"tabs": PageTabs(request)}
