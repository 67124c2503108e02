"""Embeddings, the list of models, paths that clients get wrong, and pages of other origins."""

import json
import urllib.request

import openai
import pytest

from chat.api.embeddings import INPUTS_MAX
from chat.fakeprovider.embeddings import vector_of
from tests.api.test_native import send
from tests.support.provider_control import control

READ = """
import json
from chat.models import EmbeddingCall
rows = EmbeddingCall.objects.order_by("pk")
print(json.dumps(list(rows.values_list("inputs", "calls", "input_tokens", "error_code"))))
"""


def test_embeddings_are_passed_on_retried_and_counted(api):
    api = api()
    client = api.client()
    texts = ["one two", "three"]
    found = client.embeddings.create(model="fake", input=texts, encoding_format="float", dimensions=8)
    assert [each.embedding for each in found.data] == [vector_of(text, 8) for text in texts]
    assert found.usage.prompt_tokens == 3
    packed = client.embeddings.create(model="fake", input="one two")  # the library asks for base64
    assert packed.data[0].embedding == pytest.approx(vector_of("one two"), abs=1e-6)
    assert client.embeddings.create(model="fake", input=[1, 2, 3]).usage.prompt_tokens == 3

    at = {"path": "/v1/embeddings"}
    control(api.provider, "script", at | {"do": "status=503", "times": 2}, "POST")
    assert client.embeddings.create(model="fake", input="again").data
    control(api.provider, "script", at | {"do": "status=400 message=bad words"}, "POST")
    with pytest.raises(openai.BadRequestError, match="bad words"):
        client.embeddings.create(model="fake", input="bad")
    assert json.loads(api.server.query(READ)) == [
        [2, 1, 3, ""],
        [1, 1, 2, ""],
        [1, 1, 3, ""],
        [1, 3, 1, ""],
        [1, 0, None, "rejected"],
    ]


def test_wrong_requests_for_embeddings_are_refused_in_words(api):
    api = api()
    for body, param in [
        ({"input": []}, "input"),
        ({"input": ["x"] * (INPUTS_MAX + 1)}, "input"),
        ({"input": ["x", 3]}, "input[1]"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "dimension": 8}, "dimension"),
        ({"input": "x", "model": "nobody"}, "model"),
        ({}, None),
    ]:
        status, _headers, refused = send(api, "POST", "/embeddings", {"model": "fake"} | body)
        assert status in (400, 404), body
        assert refused["error"]["param"] == param
    assert send(api, "POST", "/embeddings", b"{")[0] == 400


def test_models_tell_what_they_can_do_and_paths_that_are_wrong_name_the_right_one(api):
    api = api()
    first = api.client().models.list().data[0]
    assert first.created > 1_600_000_000
    assert first.capabilities == {"tools": True, "continuation": False, "streaming": True}
    assert first.context_length is None
    key = {"Authorization": f"Bearer {api.key}"}
    head = urllib.request.Request(f"{api.base_url}/models", headers=key, method="HEAD")
    with urllib.request.urlopen(head, timeout=20) as reply:
        assert (reply.status, reply.read()) == (200, b"")
    status, _headers, refused = send(api, "POST", "/completions", {"prompt": "hi"})
    assert (status, "/v1/chat/completions" in refused["error"]["message"]) == (404, True)
    for path in ("/chat/completions", "/models", "/embeddings", "/responses"):
        base_url = api.base_url.removesuffix("/v1")
        with pytest.raises(openai.NotFoundError, match=f"/v1{path}"):
            api.client(base_url=base_url).post(path, cast_to=object, body={})
    with pytest.raises(openai.NotFoundError, match="openapi"):
        api.client().get("/nothing", cast_to=object)


def test_pages_of_other_origins_are_let_in_by_name_only(api):
    api = api(CHATSITE_API_ORIGINS="https://app.example.org")
    asked = {"Origin": "https://app.example.org"}
    preflight = asked | {
        "Access_Control_Request_Method": "POST",
        "Access_Control_Request_Headers": "authorization, content-type",
    }
    status, headers, _body = send(api, "OPTIONS", "/chat/completions", **preflight)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://app.example.org")
    assert headers["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert send(api, "GET", "/models", **asked)[1]["Access-Control-Allow-Origin"] == asked["Origin"]
    other = {"Origin": "https://evil.example"}
    assert "Access-Control-Allow-Origin" not in send(api, "GET", "/models", **other)[1]
    assert send(api, "OPTIONS", "/chat/completions", **preflight | other)[0] == 405
