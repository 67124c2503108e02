"""The admin with our own site in it."""

from django.contrib.admin import apps


class AdminConfig(apps.AdminConfig):
    default_site = "chatsite.admin.AdminSite"
