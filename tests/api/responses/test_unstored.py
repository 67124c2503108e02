"""A response with `"store": false` is found by no call, whatever the database."""

import pytest

from chat.api import serializers
from chat.api.errors import ApiError
from chat.models import ApiKey, Conversation
from chat.models.api_request import ApiRequest, ResponseRequest


@pytest.mark.parametrize(("is_stored", "is_found"), [(True, True), (False, False)])
def test_only_what_is_stored_is_readable(user, model, is_stored, is_found):
    key, _token = ApiKey.make(user, "tests")
    response = ResponseRequest(own_messages=1, is_stored=is_stored)
    request = ApiRequest([{"role": "user", "content": "hello"}], response=response)
    started = Conversation.ask_once(user, request, model=model, client_id="c1", source="api", api_key=key)
    if is_found:
        assert serializers.find_readable(key, started.generation_id).pk == started.generation_id
    else:
        with pytest.raises(ApiError, match="not_found"):
            serializers.find_readable(key, started.generation_id)
