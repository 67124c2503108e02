"""/v1/responses with the official openai client, unmodified and strict, against the real server."""

import json

import openai
import pydantic
import pytest

from tests.api.responses.support import FULL, TOOLS
from tests.api.test_native import send
from tests.support.programs import until
from tests.support.provider_control import last_body

HELLO = "hello [[deltas=20]]"


@pytest.fixture
def strict(shared_api):
    """A started Api, and a client that checks every field of what it receives."""
    return shared_api, shared_api.client(_strict_response_validation=True)


def item_types(response):
    return [item.type for item in response.output]


def test_a_whole_response(strict):
    api, client = strict
    done = client.responses.create(
        model="fake",
        input=[{"role": "user", "content": "hello [[deltas=20 reasoning=3]]"}],
        instructions="Be brief.",
        metadata={"order": "4711"},
        temperature=0.5,
        reasoning={"effort": "low", "summary": "auto"},
        max_output_tokens=100,
        include=["reasoning.encrypted_content"],
    )
    assert (done.status, done.model, done.object) == ("completed", "fake", "response")
    assert item_types(done) == ["reasoning", "message"]
    assert done.output[0].content[0].text
    assert done.output_text
    assert (done.metadata, done.temperature, done.reasoning.summary) == ({"order": "4711"}, 0.5, "auto")
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
    assert done.completed_at >= done.created_at > 0
    sent = last_body(api.provider)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["reasoning_effort"] == "low"
    assert client.responses.retrieve(done.id) == done


def test_a_stream_with_the_librarys_helper(strict):
    _api, client = strict
    with client.responses.stream(model="fake", input=FULL, tools=TOOLS) as stream:
        seen = [event.type for event in stream]
        final = stream.get_final_response()
    assert seen[0] == "response.created"
    assert seen[-1] == "response.completed"
    assert item_types(final) == ["reasoning", "message", "function_call", "function_call"]
    assert client.responses.retrieve(final.id).output == client.responses.retrieve(final.id).output
    calls = [json.loads(item.arguments) for item in final.output[2:]]
    assert [call["days"] for call in calls] == [1, 2]
    assert len({item.call_id for item in final.output[2:]}) == 2


def test_a_round_of_tools_with_a_chain(strict):
    api, client = strict
    first = client.responses.create(model="fake", input=FULL, tools=TOOLS, instructions="First.")
    calls = [item for item in first.output if item.type == "function_call"]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    second = client.responses.create(
        model="fake", input=[*outputs, {"role": "user", "content": HELLO}], previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert second.instructions is None
    messages = last_body(api.provider)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == [call.call_id for call in calls]
    listed = client.responses.input_items.list(second.id, order="asc", limit=2)
    assert [item.type for item in listed] == ["function_call_output", "function_call_output", "message"]
    newest = client.responses.input_items.list(second.id).data[0]
    assert newest.content[0].text == HELLO
    third = client.responses.create(
        model="fake",
        input=[
            {"type": "item_reference", "id": calls[0].id},
            {"type": "function_call_output", "call_id": calls[0].call_id, "output": "rain"},
        ],
    )
    assert third.status == "completed"


class Weather(pydantic.BaseModel):
    city: str


def test_structured_outputs(strict):
    api, client = strict
    done = client.responses.parse(
        model="fake", input='Where? [[text={"city": "Zürich"}]]', text_format=Weather
    )
    assert done.output_parsed == Weather(city="Zürich")
    sent = last_body(api.provider)["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", "Weather")


def test_background_cancel_and_delete(strict):
    api, client = strict
    begun = client.responses.create(model="fake", input="hello [[hold=gate after=3]]", background=True)
    assert begun.status in ("queued", "in_progress")
    assert begun.output == []
    until(lambda: api.requests()[-1]["state"] == "held", "the first words")
    stopped = client.responses.cancel(begun.id)
    assert (stopped.status, stopped.output[-1].status) == ("cancelled", "incomplete")
    assert client.responses.cancel(begun.id) == stopped
    with pytest.raises(openai.BadRequestError, match="can be continued"):
        client.responses.create(model="fake", input=HELLO, previous_response_id=begun.id)
    client.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(begun.id)
    running = client.responses.create(model="fake", input="hello [[hold=gate after=3]]", background=True)
    status, _headers, deleted = send(api, "DELETE", f"/responses/{running.id}")
    assert (status, deleted) == (200, {"id": running.id, "object": "response", "deleted": True})
    until(lambda: api.requests()[-1]["client_left"], "the provider to see it")


def test_an_answer_that_ends_early_is_incomplete(strict):
    _api, client = strict
    with client.responses.stream(model="fake", input=HELLO, max_output_tokens=16) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output[-1].status == "incomplete"


def test_errors(strict):
    api, client = strict
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input=HELLO)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="fake", input=HELLO, previous_response_id="resp_999999")
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
    unstored = client.responses.create(model="fake", input=HELLO, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unstored.id)
    assert send(api, "GET", f"/generations/{unstored.id.replace('resp_', 'gen-')}")[0] == 404
    stored = client.responses.create(model="fake", input=HELLO)
    assert send(api, "GET", f"/generations/{stored.id.replace('resp_', 'gen-')}")[0] == 200
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="fake", input=HELLO, previous_response_id=unstored.id)
    completion = client.chat.completions.create(model="fake", messages=[{"role": "user", "content": HELLO}])
    assert send(api, "GET", f"/responses/{completion.id.replace('gen-', 'resp_')}")[0] == 404
    for query in ("stream=maybe", "stream=true&starting_after=x", "stream=true&starting_after=-2"):
        assert send(api, "GET", f"/responses/{unstored.id}?{query}")[0] in (400, 404)


def test_failures(strict):
    _api, client = strict
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="fake:second", input="hello [[status=500]]")
    *_events, last = client.responses.create(model="fake:second", input="hello [[status=500]]", stream=True)
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert (last.response.error.code, bool(last.response.error.message)) == ("server_error", True)


def test_the_same_idempotency_key_gives_the_same_response(strict):
    api, client = strict
    again = {"extra_headers": {"Idempotency-Key": "once"}}
    first = client.responses.create(model="fake", input=FULL, tools=TOOLS, **again)
    asked = len(api.requests())
    assert client.responses.create(model="fake", input=FULL, tools=TOOLS, **again) == first
    assert len(api.requests()) == asked
    with pytest.raises(openai.ConflictError):
        client.responses.create(model="fake", input="else", **again)


def test_large_input_and_long_chains(strict):
    api, client = strict
    word = "word " * 80_000
    first = client.responses.create(model="fake", input=f"{word} {HELLO}")
    second = client.responses.create(
        model="fake", input=HELLO, previous_response_id=first.id, instructions="Be brief."
    )
    third = client.responses.create(model="fake", input=f"{word} {HELLO}", previous_response_id=second.id)
    roles = [message["role"] for message in last_body(api.provider)["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    [item] = client.responses.input_items.list(third.id).data
    assert len(item.content[0].text) > len(word)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="fake", input=[{"role": "user", "content": word}, {"type": "x"}])
    assert caught.value.param == "input[1].type"


def test_counting_and_compaction(strict):
    _api, client = strict
    short = client.responses.input_tokens.count(model="fake", input="hello")
    long = client.responses.input_tokens.count(model="fake", input="hello " * 100)
    assert 0 < short.input_tokens < 100 < long.input_tokens
    with pytest.raises(openai.NotFoundError, match="Compaction is not supported"):
        client.responses.compact(model="fake", input="hello")


def test_a_refusal_and_the_details_of_usage(strict):
    _api, client = strict
    with client.responses.stream(model="fake", input="hello [[refusal deltas=6]]") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.refusal.done" in kinds
    assert final.output[0].content[0].type == "refusal"
    assert client.responses.retrieve(final.id).output[0].content[0].refusal
    asked = {"effort": "low"}
    thought = client.responses.create(model="fake", input="hello [[capable]]", reasoning=asked)
    assert thought.usage.output_tokens_details.reasoning_tokens > 0
