"""Where a user is signed in: the list in the settings, and the sign-out of each device."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.models import Device
from chat.views.access import AuthenticatedRequest, signed_in


@signed_in("POST")
def sign_out(request: AuthenticatedRequest, pk: int | None = None) -> HttpResponse:
    """Sign out one device of the user, or all but this one."""
    ended = Device.sign_out(request.user, pk, except_key=request.session.session_key)
    if ended:
        text = ngettext("Signed out %(number)d device.", "Signed out %(number)d devices.", ended)
        messages.info(request, text % {"number": ended})
    else:
        messages.info(request, _("This device is no longer signed in."))
    return redirect("settings")
