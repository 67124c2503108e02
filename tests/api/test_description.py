"""The OpenAPI document names every URL of the API and each of its methods."""

import json
import re

from chat.api import openapi
from chat.api.urls import urlpatterns

# The document itself, what is unknown, and a URL that only says that it is not supported.
NOT_DESCRIBED = {"openapi.json", "", "<path:rest>", "responses/compact"}


def test_every_url_is_described():
    described = {re.sub(r"{\w+}", "{}", path) for path in json.loads(openapi.document())["paths"]}
    routes = {str(each.pattern) for each in urlpatterns} - NOT_DESCRIBED
    assert {"/" + re.sub(r"<\w+:\w+>", "{}", route) for route in routes} == described
