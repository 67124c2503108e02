"""The page of a user's API keys: create, show once, list, revoke."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from chat.errors import RequestRefused
from chat.models import ApiKey
from chat.views.access import AuthenticatedRequest, signed_in, status_of


@signed_in("GET", "POST")
def api_keys(request: AuthenticatedRequest) -> HttpResponse:
    """List the user's keys. A POST creates a key and shows it once."""
    key, refused = "", None
    if request.method == "POST":
        try:
            _row, key = ApiKey.make(request.user, request.POST.get("name", ""))
        except RequestRefused as error:
            refused = error
    context = {
        "keys": ApiKey.objects.filter(user=request.user, revoked_at=None),
        "new_key": key,
        "refused": refused,
        "base_url": (settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")) + "/v1",
        "per_minute": settings.ASKS_PER_MINUTE_PER_KEY,
        "user_running_limit": settings.API_RUNNING_PER_USER,
    }
    return render(request, "accounts/api_keys.html", context, status=status_of(refused) if refused else 200)


@signed_in("POST")
def revoke(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Revoke a key."""
    found = ApiKey.objects.filter(user=request.user, pk=pk).first()
    if found is None:
        raise Http404
    found.revoke()
    return redirect(reverse("api_keys"))
