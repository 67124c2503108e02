"""The admin with our own site in it, and the system check of the environment."""

from django.contrib.admin import apps


class AdminConfig(apps.AdminConfig):
    default_site = "chatsite.admin.AdminSite"

    def ready(self) -> None:
        super().ready()
        from chatsite import checks  # noqa: F401 - registers the check; needs the settings
