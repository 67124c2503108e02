"""Chatsite's own parts of the API: background generations, events, cancelling, webhooks, keys, limits."""

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

import openai
import pytest

from tests.support.programs import until

MESSAGES = [{"role": "user", "content": "hello [[deltas=20]]"}]


def send(api, method, path, body=None, key=None, **headers):
    """Send one request; return status, headers, and the body as JSON where it is that."""
    connection = http.client.HTTPConnection(urlsplit(api.base_url).netloc, timeout=20)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {"Authorization": f"Bearer {key or api.key}", "Content-Type": "application/json"}
    connection.request(
        method, f"/v1{path}", content, sent | {k.replace("_", "-"): v for k, v in headers.items()}
    )
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    is_json = reply.headers["Content-Type"] == "application/json"
    return reply.status, reply.headers, json.loads(text) if is_json else text


def ask(api, text="hello [[deltas=20]]", **more):
    body = {"model": "fake", "messages": [{"role": "user", "content": text}]}
    headers = {name: more.pop(name) for name in ("Idempotency_Key", "key") if name in more}
    return send(api, "POST", "/chat/completions", body | more, **headers)


def parsed(stream):
    """Return a stream's events as (id, event, data)."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def ended(api, wire_id):
    def look():
        found = send(api, "GET", f"/generations/{wire_id}")[2]
        return found if found["finished"] else None

    return until(look, "the generation's end")


def test_a_background_answer_can_be_read_later(api):
    api = api()
    status, headers, begun = ask(api, background=True)
    assert (status, begun["object"]) == (202, "generation")
    assert headers["Location"] == f"/v1/generations/{begun['id']}"
    done = ended(api, begun["id"])
    assert (done["status"], done["model"]) == ("completed", "fake")
    assert done["completion"]["choices"][0]["message"]["content"] == done["text"]
    _status, headers, stream = send(api, "GET", f"/generations/{begun['id']}/events")
    assert headers["Content-Type"].startswith("text/event-stream")
    events = parsed(stream)
    assert [seq for seq, _kind, _data in events] == list(range(1, len(events) + 1))
    assert events[-1][1] == "completed"
    assert "".join(data["text"] for _seq, kind, data in events if kind == "delta") == done["text"]
    middle = events[len(events) // 2][0]
    rest = parsed(send(api, "GET", f"/generations/{begun['id']}/events", Last_Event_ID=str(middle))[2])
    assert rest == events[middle:]


def test_a_cancelled_answer_stops_at_the_provider_and_is_not_complete(api):
    api = api()
    begun = ask(api, "hello [[hold=gate after=3]]", background=True)[2]
    until(lambda: [each for each in api.requests() if each["state"] == "held"], "the first words")
    assert send(api, "POST", f"/generations/{begun['id']}/cancel")[0] == 200
    done = ended(api, begun["id"])
    assert (done["status"], done["error"]["code"], done["completion"]) == ("stopped", "stopped", None)
    until(lambda: api.requests()[-1]["client_left"], "the provider to see it", deadline_s=5)


def test_generations_of_other_users_do_not_exist(api):
    api = api()
    begun = ask(api, background=True)[2]
    api.server.sign_in("bob")
    bob = api.new_key("bob")
    foreign = send(api, "GET", f"/generations/{begun['id']}", key=bob)
    missing = send(api, "GET", "/generations/gen-999999", key=bob)
    assert (foreign[0], foreign[2]) == (missing[0], missing[2]) == (404, foreign[2])
    for name in ("gen-", "gen-0x1", f"gen-{9**40}", "1", "gen-١"):
        assert send(api, "GET", f"/generations/{quote(name)}")[0] == 404
    assert send(api, "POST", f"/generations/{begun['id']}/cancel", key=bob)[0] == 404
    assert send(api, "GET", f"/generations/{begun['id']}/events", key=bob)[0] == 404


def test_the_same_idempotency_key_gives_the_same_generation(api):
    api = api()
    with ThreadPoolExecutor(5) as pool:
        replies = list(pool.map(lambda _n: ask(api, Idempotency_Key="once"), range(5)))
    assert {status for status, _headers, _body in replies} == {200}
    assert len({json.dumps(body) for _status, _headers, body in replies}) == 1
    assert len(api.requests()) == 1
    status, _headers, stream = ask(api, Idempotency_Key="once", stream=True)
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == replies[0][2]["choices"][0]["message"]["content"]
    status, _headers, refused = ask(api, "something else", Idempotency_Key="once")
    assert (status, refused["error"]["code"]) == (409, "conflict")


def test_a_revoked_key_ends_its_streams_and_is_rejected(api):
    api = api()
    stream = api.client().chat.completions.create(
        model="fake", messages=[{"role": "user", "content": "hello [[hold=gate after=3]]"}], stream=True
    )
    next(stream)
    api.server.query("from chat.models import ApiKey; ApiKey.objects.get().revoke()")
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "invalid_api_key"
    assert ask(api)[0] == 401
    until(lambda: api.requests()[-1]["client_left"], "the provider to see it", deadline_s=5)


def test_a_rejection_by_a_limit_has_retry_after(api):
    api = api(CHATSITE_RUNNING_PER_KEY="1", CHATSITE_API_WAITING_PER_KEY="0")
    ask(api, "hello [[hold=gate after=3]]", background=True)
    status, headers, refused = ask(api)
    assert (status, refused["error"]["code"]) == (429, "too_many_running")
    assert int(headers["Retry-After"]) >= 1


class WebhookReceiver:
    """An HTTP server that rejects the first webhook and accepts the second."""

    def __init__(self):
        self.calls = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.calls.append((dict(self.headers), body))
                self.send_response(500 if len(receiver.calls) == 1 else 204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/done"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_a_webhook_is_signed_and_retried_until_it_is_accepted(api):
    api, receiver = api(), WebhookReceiver()
    refused = ask(api, background=True, callback_url=receiver.url)
    assert (refused[0], refused[2]["error"]["code"]) == (400, "callback_not_allowed")
    secret = api.server.query(
        "from chat.models import WebhookEndpoint as Endpoint;"
        f"print(Endpoint.objects.create(url={receiver.url!r}).secret)"
    )
    begun = ask(api, background=True, callback_url=receiver.url)[2]
    until(lambda: len(receiver.calls) == 2, "the second try", deadline_s=30)
    (first_headers, first), (headers, body) = receiver.calls
    event = json.loads(body)
    assert event["type"] == "generation.completed"
    assert event["data"] == {"id": begun["id"], "status": "completed"}
    assert (json.loads(first)["id"], first_headers["webhook-id"]) == (event["id"], headers["webhook-id"])
    api.client().webhooks.verify_signature(body.decode(), headers, secret=secret)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        api.client().webhooks.verify_signature(body.decode() + " ", headers, secret=secret)
    delivered = "from chat.models import Webhook; print(Webhook.objects.get().delivered_at is not None)"
    until(lambda: api.server.query(delivered) == "True", "the row to say so")
    receiver.server.shutdown()
