"""URLs of the HTTP API, below /v1/."""

from django.urls import path

from chat.api import completions, generations, model_list, openapi
from chat.api.auth import api_view, unknown_url

urlpatterns = [
    path("chat/completions", api_view(POST=completions.create)),
    path("models", api_view(GET=model_list.index)),
    path("models/<path:name>", api_view(GET=model_list.show)),
    path("generations/<str:wire_id>", api_view(GET=generations.show)),
    path("generations/<str:wire_id>/events", api_view(GET=generations.events_of)),
    path("generations/<str:wire_id>/cancel", api_view(POST=generations.cancel)),
    path("openapi.json", api_view(GET=openapi.show)),
    path("", unknown_url),
    path("<path:rest>", unknown_url),
]
