"""The URLs of the site: health probes, accounts, the admin, the API, the chat."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path, re_path

from chat.api.auth import unknown_url
from chat.api.urls import forgotten_patterns
from chat.views import (
    accesses,
    accounts,
    api_keys,
    health,
    imports,
    library,
    own_data,
    settings,
    shared,
    styleguide,
    usage,
)

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
    path("styleguide/", styleguide.styleguide, name="styleguide"),
    path("settings/", settings.settings, name="settings"),
    path("library/", library.library, name="library"),
    path("library/prompts.json", library.offered, name="library_offered"),
    re_path(r"^library/(?P<kind>prompts|presets)/new/$", library.entry, name="library_new"),
    re_path(r"^library/(?P<kind>prompts|presets)/(?P<pk>[0-9]{1,18})/$", library.entry, name="library_entry"),
    path("keys/", api_keys.api_keys, name="api_keys"),
    path("keys/<int:pk>/revoke/", api_keys.revoke, name="api_key_revoke"),
    path("access/", accesses.accesses, name="accesses"),
    path("usage/", usage.page, name="usage"),
    path("usage/download/", usage.download, name="usage_download"),
    path("data/", own_data.page, name="own_data"),
    path("data/download/", own_data.download, name="own_data_download"),
    path("shared/", shared.shared_links, name="shared_links"),
    path("shared/<int:pk>/revoke/", shared.revoke, name="revoke_link"),
    path("s/<str:token>/", shared.shared, name="shared"),
    path("s/<str:token>/files/<uuid:pk>/", shared.shared_file, name="shared_file"),
    path("import/", imports.imports, name="imports"),
    path("import/<uuid:pk>/", imports.report, name="import"),
    path("import/<uuid:pk>/part/", imports.part, name="import_part"),
    path("import/<uuid:pk>/undo/", imports.undo, name="import_undo"),
    path("import/<uuid:pk>/remove/", imports.remove, name="import_remove"),
    path("admin/", admin.site.urls),
    path("v1", unknown_url),
    path("v1/", include("chat.api.urls")),
    *forgotten_patterns,
    path("", include("chat.urls")),
]
