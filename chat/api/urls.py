"""Where requests of programs go."""

from django.urls import path

from chat.api import completions, generations, model_list, openapi
from chat.api.auth import entry, unknown

urlpatterns = [
    path("chat/completions", entry(POST=completions.create)),
    path("models", entry(GET=model_list.index)),
    path("models/<path:name>", entry(GET=model_list.show)),
    path("generations/<str:wire_id>", entry(GET=generations.show)),
    path("generations/<str:wire_id>/events", entry(GET=generations.events_of)),
    path("generations/<str:wire_id>/cancel", entry(POST=generations.cancel)),
    path("openapi.json", entry(GET=openapi.show)),
    path("", unknown),
    path("<path:rest>", unknown),
]
