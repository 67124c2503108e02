"""Sign-in by password and by link, password changes, and registration (if open)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth.forms import (
    AuthenticationForm,
    PasswordChangeForm,
    SetPasswordForm,
    UserCreationForm,
)
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods

from chat.errors import RequestRefused
from chat.models.registration import Registration
from chat.models.sign_in import SigninFailure, SigninLink
from chat.views.access import account_page

# `login` requires a backend name if the user did not come from `authenticate`.
BACKEND = "django.contrib.auth.backends.ModelBackend"


class SigninForm(AuthenticationForm):
    error_messages = {
        "invalid_login": _("Wrong username or password. Both are case-sensitive."),
        "inactive": _("Wrong username or password. Both are case-sensitive."),
    }


class _WithPlainHelp:
    """Replaces the lists of rules in Django's forms with one line each."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if name in ("password1", "new_password1"):
                field.help_text = _("At least 8 characters, not common, and unlike your username.")
            elif name in ("password2", "new_password2"):
                field.help_text = ""
            elif name == "username":
                field.help_text = _("Letters, digits and @ . + - _")


class RegisterForm(_WithPlainHelp, UserCreationForm[User]):
    pass


class FirstPasswordForm(_WithPlainHelp, SetPasswordForm[User]):
    pass


class NewPasswordForm(_WithPlainHelp, PasswordChangeForm):
    pass


class Signin(LoginView):
    """Sign in by password.

    The admin redirects here as well, so that one throttle covers both.
    """

    template_name = "accounts/signin.html"
    authentication_form = SigninForm
    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            attempt = SigninFailure.expect(
                request.POST.get("username", ""), request.META.get("REMOTE_ADDR") or ""
            )
        except RequestRefused as refused:
            return self._refuse(refused)
        form = self.get_form()
        if not form.is_valid():
            return self.form_invalid(form)
        attempt.forgive()
        return self.form_valid(form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(registration_is_open=settings.REGISTRATION_IS_OPEN, **kwargs)

    def _refuse(self, refused: RequestRefused) -> HttpResponse:
        """Show how long to wait, without checking the password.

        The response is the same for known and unknown user names.
        """
        # Keep the user name, so that only the password has to be typed again.
        form = SigninForm(self.request, initial={"username": self.request.POST.get("username", "")})
        return _too_many(
            self.render_to_response(self.get_context_data(form=form, refusal=refused.message)), refused
        )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("token")
def signin_link(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in by a single-use link.

    Only the POST uses it up, so that link previews do no harm.
    """
    link = SigninLink.find(token)
    if request.method == "POST" and link is not None and link.use():
        login(request, link.user, backend=BACKEND)
        return redirect("chat" if link.user.has_usable_password() else "password_set")
    if request.method == "POST" or link is None:
        return render(request, "accounts/link_expired.html", status=HTTPStatus.NOT_FOUND)
    return render(request, "accounts/link.html", {"link_user": link.user})


@never_cache
@account_page
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
def password_set(request: HttpRequest) -> HttpResponse:
    """Let a user who has no password set one. The page offers to skip this."""
    user = request.user
    assert isinstance(user, User)
    if user.has_usable_password():
        return redirect("password_change")
    form = FirstPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        update_session_auth_hash(request, user)
        return redirect("chat")
    return render(request, "accounts/password_set.html", {"form": form})


@method_decorator(account_page, name="dispatch")
class PasswordChange(PasswordChangeView):
    """Change the password. All other sessions of the user end."""

    template_name = "accounts/password_change.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("password_changed")

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        assert isinstance(request.user, User)
        if not request.user.has_usable_password():
            return redirect("password_set")
        return super().get(request, *args, **kwargs)


@never_cache
@account_page
@require_http_methods(["GET", "HEAD"])
def password_changed(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/password_changed.html")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
def register(request: HttpRequest) -> HttpResponse:
    """Create an account, if the operator has opened registration."""
    if not settings.REGISTRATION_IS_OPEN:
        raise Http404
    if request.user.is_authenticated:
        return redirect("chat")
    form = RegisterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            Registration.check_in(request.META.get("REMOTE_ADDR") or "")
        except RequestRefused as refused:
            page = render(request, "accounts/register.html", {"form": form, "refusal": refused.message})
            return _too_many(page, refused)
        login(request, form.save(), backend=BACKEND)
        return redirect("chat")
    return render(request, "accounts/register.html", {"form": form})


def _too_many(page: HttpResponse, refused: RequestRefused) -> HttpResponse:
    page.status_code = HTTPStatus.TOO_MANY_REQUESTS
    page.headers["Retry-After"] = str(math.ceil(refused.retry_after_s or 1))
    return page
