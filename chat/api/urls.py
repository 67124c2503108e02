"""URLs of the HTTP API, below /v1/."""

from django.urls import path

from chat.api import batches, completions, embeddings, files, generations, model_list, openapi
from chat.api.auth import api_view, unknown_url
from chat.api.responses import counting
from chat.api.responses import views as responses

urlpatterns = [
    path("chat/completions", api_view(POST=completions.create)),
    path("embeddings", api_view(POST=embeddings.create)),
    path("files", api_view(GET=files.index, POST=files.create)),
    path("files/<str:wire_id>", api_view(GET=files.show, DELETE=files.delete)),
    path("files/<str:wire_id>/content", api_view(GET=files.content)),
    path("batches", api_view(GET=batches.index, POST=batches.create)),
    path("batches/<str:wire_id>", api_view(GET=batches.show)),
    path("batches/<str:wire_id>/cancel", api_view(POST=batches.cancel)),
    path("models", api_view(GET=model_list.index)),
    path("models/<path:name>", api_view(GET=model_list.show)),
    path("generations/<str:wire_id>", api_view(GET=generations.show)),
    path("generations/<str:wire_id>/events", api_view(GET=generations.events_of)),
    path("generations/<str:wire_id>/cancel", api_view(POST=generations.cancel)),
    path("responses", api_view(POST=responses.create)),
    path("responses/input_tokens", api_view(POST=counting.count_input)),
    path("responses/compact", api_view(POST=counting.compact)),
    path("responses/<str:wire_id>", api_view(GET=responses.show, DELETE=responses.delete)),
    path("responses/<str:wire_id>/cancel", api_view(POST=responses.cancel)),
    path("responses/<str:wire_id>/input_items", api_view(GET=responses.list_input)),
    path("openapi.json", api_view(GET=openapi.show)),
    path("", unknown_url),
    path("<path:rest>", unknown_url),
]

# Requests of clients whose base URL lacks the /v1.
forgotten_patterns = [
    path(name, unknown_url)
    for name in ("chat/completions", "completions", "embeddings", "models", "responses")
]
