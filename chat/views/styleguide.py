"""The style guide: all components of the pages, in both themes."""

from __future__ import annotations

import re

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

COLOURS = (
    *("surface", "surface-side", "surface-raised", "surface-hover", "surface-bubble", "surface-code"),
    *("text", "muted", "line", "accent", "ink", "good", "warning", "danger"),
)


def styleguide(request: HttpRequest) -> HttpResponse:
    """Show the style guide to staff, and to everybody if DEBUG is on."""
    if not (settings.DEBUG or (request.user.is_authenticated and request.user.is_staff)):
        raise Http404
    icons = re.findall(r'id="i-([\w-]+)"', render_to_string("chat/_icons.html"))
    context = {"themes": ("light", "dark"), "colours": COLOURS, "icons": icons}
    return render(request, "styleguide.html", context)
