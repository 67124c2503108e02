"""The document inside the frame of a diagram. It draws what the page sends it, and can reach nothing else."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET

# A sandbox without `allow-same-origin`: an origin of its own, without cookies and storage. Mermaid writes
# styles into its drawing, which is why they are allowed here and nowhere else.
POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@require_GET
@xframe_options_sameorigin
def diagram(request: HttpRequest) -> HttpResponse:
    """Return the document, which holds no data of anybody."""
    response = render(request, "chat/diagram.html")
    response["Content-Security-Policy"] = POLICY
    return response
