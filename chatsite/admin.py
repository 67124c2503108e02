"""The admin site: its name, the sign-in that it shares with the other pages, and its reading of addresses."""

import logging
import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest, FieldError, PermissionDenied, ValidationError
from django.db import DataError, NotSupportedError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger(__name__)

type AdminView = Callable[..., HttpResponseBase]

# Python evaluates these patterns on SQLite, and some take hours.
REGEX_LOOKUPS = ("__regex", "__iregex")
# Each becomes a condition; databases limit how many a query may have.
SEARCH_WORDS_MAX = 30
# What a value that fits no column raises, in Python or in the database.
ERRORS_OF_VALUES = (
    *(ValueError, TypeError, OverflowError, IndexError, FieldError, ValidationError, DataError),
    *(ProgrammingError, NotSupportedError, OperationalError),
)


class AdminSite(admin.AdminSite):
    site_title = site_header = "Chatsite"
    index_title = _("Overview")

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """Redirect to the sign-in page, the only one that checks passwords, so that it can throttle."""
        wanted = request.GET.get(REDIRECT_FIELD_NAME, "")
        if not url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()):
            wanted = resolve_url("admin:index")
        if self.has_permission(request):
            return HttpResponseRedirect(wanted)
        if request.user.is_authenticated:
            # The sign-in page would redirect a signed-in user straight back here.
            raise PermissionDenied
        return redirect_to_login(wanted)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        # Not at the top: this site exists before the tables, which that package imports.
        from chat.admin.navigation import sections

        context = super().each_context(request)
        if context["has_permission"]:
            context["task_sections"] = sections(request)
        return context

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from chat.admin.attention import attention_of
        from chat.admin.dashboard import dashboard_of

        board = dashboard_of(request)
        attention = attention_of(request, board["failed_today"] if board else 0)
        return super().index(request, {"dashboard": board, "attention": attention, **(extra_context or {})})

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return super().admin_view(rejecting_addresses(view), cacheable)


def rejecting_addresses(view: AdminView) -> AdminView:
    """Return a view whose parameters in the address, if they make no sense, are status 400 and not 500.

    The admin passes filters of the address on to the database, and learns too late what it does not accept:
    `?created_at__year=99999` is an error only when the page is rendered.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.GET:
            return view(request, *args, **kwargs)
        _check_parameters(request)
        try:
            response = view(request, *args, **kwargs)
            return response.render() if isinstance(response, TemplateResponse) else response
        except ERRORS_OF_VALUES as error:
            if isinstance(error, OperationalError) and not _is_fault_of_query(error):
                raise
            logger.warning("An admin page was requested with invalid parameters", exc_info=True)
            raise BadRequest("invalid parameters") from error

    return wrapped


def _check_parameters(request: HttpRequest) -> None:
    if any("\0" in value for values in request.GET.lists() for value in (values[0], *values[1])):
        raise BadRequest("a character that no text has")
    if any(name.endswith(REGEX_LOOKUPS) for name in request.GET):
        raise BadRequest("regular expressions are not supported")
    if len(request.GET.get("q", "").split()) > SEARCH_WORDS_MAX:
        raise BadRequest("too many words to search for")


def _is_fault_of_query(error: OperationalError) -> bool:
    """Return whether the database works, but cannot run this query."""
    cause = error.__cause__
    is_sqlite_error = getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    # PostgreSQL's class 54: program limit exceeded.
    return is_sqlite_error or (getattr(cause, "sqlstate", None) or "").startswith("54")
