"""The URLs of the site: health probes, accounts, the admin, the API, the chat."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path

from chat.views import accounts, api_keys, health

handler400 = "chat.views.errors.bad_request"
handler500 = "chat.views.errors.server_error"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("signin/", accounts.Signin.as_view(), name="signin"),
    path("signin/<str:token>/", accounts.signin_link, name="signin_link"),
    path("signout/", LogoutView.as_view(), name="signout"),
    path("register/", accounts.register, name="register"),
    path("password/", accounts.PasswordChange.as_view(), name="password_change"),
    path("password/changed/", accounts.password_changed, name="password_changed"),
    path("password/new/", accounts.password_set, name="password_set"),
    path("keys/", api_keys.api_keys, name="api_keys"),
    path("keys/<int:pk>/revoke/", api_keys.revoke, name="api_key_revoke"),
    path("admin/", admin.site.urls),
    path("v1/", include("chat.api.urls")),
    path("", include("chat.urls")),
]
