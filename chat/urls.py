"""Where requests for pages go."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
