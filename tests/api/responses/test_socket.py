"""The websocket mode of Open Responses, with the openai client and with plain frames."""

import json

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.programs import until
from tests.support.provider_control import last_body

HELLO = "hello [[deltas=20]]"


class Socket:
    """A socket that sends requests and reads whole turns."""

    def __init__(self, api, key=None):
        url = "ws" + api.base_url.removeprefix("http") + "/responses"
        headers = {"Authorization": f"Bearer {key or api.key}"}
        self.connection = connect(url, additional_headers=headers, proxy=None)

    def __enter__(self):
        return self

    def __exit__(self, *_failure):
        self.connection.close()

    def send(self, **values):
        self.connection.send(json.dumps({"type": "response.create", "model": "fake"} | values))

    def turn(self):
        """Return the events up to the last one of a turn."""
        events = []
        while not events or events[-1]["type"] not in (
            *("response.completed", "response.failed", "response.incomplete", "error"),
        ):
            events.append(json.loads(self.connection.recv(timeout=20)))
        return events

    def ask(self, text=HELLO, **values):
        self.send(input=text, **values)
        return self.turn()


def refused(events):
    [event] = events
    assert event["type"] == "error"
    assert event["error"]["message"]
    return event["status"], event["error"]["code"], event["error"]["param"]


def test_the_librarys_connection(shared_api):
    with shared_api.client().responses.connect() as connection:
        connection.response.create(model="fake", input=HELLO)
        kinds = []
        for event in connection:
            kinds.append(event.type)
            if event.type == "response.completed":
                assert event.response.output_text
                break
    assert kinds[:2] == ["response.created", "response.in_progress"]


def test_responses_follow_each_other_and_continue(shared_api):
    with Socket(shared_api) as socket:
        first = socket.ask()
        assert [event["sequence_number"] for event in first] == list(range(len(first)))
        assert first[-1]["response"]["status"] == "completed"
        second = socket.ask(previous_response_id=first[-1]["response"]["id"])
        assert second[-1]["response"]["previous_response_id"] == first[-1]["response"]["id"]
        # Two at once: the second one waits for its turn.
        socket.send(input="one [[deltas=9]]")
        socket.send(input="two [[deltas=9]]")
        ids = [{event["response"]["id"] for event in socket.turn() if "response" in event} for _n in "12"]
        assert len(ids[0]) == len(ids[1]) == 1
        assert ids[0] != ids[1]
    assert shared_api.client().responses.retrieve(ids[0].pop()).status == "completed"


def test_what_is_not_stored_is_continued_by_its_connection_only(shared_api):
    with Socket(shared_api) as socket:
        first = socket.ask(store=False)[-1]["response"]["id"]
        assert socket.ask(previous_response_id=first, store=False)[-1]["type"] == "response.completed"
        # A turn that fails is not continued as if it had not been.
        failed = socket.ask([{"type": "nothing"}], previous_response_id=first)
        assert refused(failed) == (400, "unsupported_parameter", "input[0].type")
        missing = (400, "previous_response_not_found", "previous_response_id")
        assert refused(socket.ask(previous_response_id=first)) == missing
        unstored = socket.ask(store=False)[-1]["response"]["id"]
    with Socket(shared_api) as socket:
        assert refused(socket.ask(previous_response_id=unstored)) == missing
        assert socket.ask()[-1]["type"] == "response.completed"


def test_a_request_can_be_prepared_without_an_answer(api):
    api = api()
    with Socket(api) as socket:
        prepared = socket.ask("First.", generate=False, instructions="Be brief.")
        assert [event["type"] for event in prepared] == [
            *("response.created", "response.in_progress", "response.completed")
        ]
        response = prepared[-1]["response"]
        assert (response["output"], response["instructions"]) == ([], "Be brief.")
        assert api.requests() == []
        assert socket.ask(previous_response_id=response["id"])[-1]["type"] == "response.completed"
    assert [message["content"] for message in last_body(api.provider)["messages"]] == ["First.", HELLO]


FRAMES = [
    ("{", "malformed_request", None),
    ("[]", "malformed_request", None),
    ('{"type": "session.update"}', "unsupported_parameter", "type"),
    ('{"type": "response.create", "model": "fake"}', "invalid_value", "input"),
    (
        '{"type": "response.create", "model": "fake", "input": "x", "generate": 1}',
        "invalid_value",
        "generate",
    ),
    (
        '{"type": "response.create", "model": "fake", "input": "x", "background": true}',
        *("invalid_value", "background"),
    ),
    ('{"type": "response.create", "model": "nobody", "input": "x"}', "model_not_found", "model"),
]


def test_a_bad_frame_is_an_error_and_the_socket_lives_on(shared_api):
    with Socket(shared_api) as socket:
        for frame, code, param in FRAMES:
            socket.connection.send(frame)
            status, *rest = refused(socket.turn())
            assert rest == [code, param]
            assert status in (400, 404)
        assert socket.ask()[-1]["type"] == "response.completed"


def test_a_bad_key_is_told_and_ends_the_connection(shared_api):
    with Socket(shared_api, key="cs-wrong") as socket:
        assert refused(socket.turn())[:2] == (401, "invalid_api_key")
        with pytest.raises(ConnectionClosed):
            socket.connection.recv(timeout=20)


def test_a_revoked_key_ends_the_connection(api):
    api = api()
    with Socket(api) as socket:
        socket.ask()
        api.server.query("from chat.models import ApiKey; ApiKey.objects.get().revoke()")
        assert refused(socket.turn())[:2] == (401, "invalid_api_key")


def test_a_client_that_leaves_stops_its_response(shared_api):
    with Socket(shared_api) as socket:
        socket.send(input="hello [[hold=gate after=3]]")
        until(lambda: [each for each in shared_api.requests() if each["state"] == "held"], "the first words")
    until(lambda: shared_api.requests()[-1]["client_left"], "the provider to see it")
