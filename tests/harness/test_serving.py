"""The harness around the real programs: they start, answer, die and come back."""

import json
import urllib.request


def test_the_fake_provider_starts_and_says_where_it_is(provider):
    with urllib.request.urlopen(f"{provider.base_url}/models", timeout=10) as reply:
        assert reply.status == 200


def test_the_server_dies_and_comes_back_on_the_same_port(serve):
    server = serve()
    server.kill9()
    assert not server.is_running
    server.restart()
    assert server.is_running
    assert server.terminate() == 0


def test_a_signed_in_person_gets_a_socket(serve, provider):
    session = serve(provider.env_for_server).sign_in("ada")
    with session.socket() as socket:
        socket.send('{"type": "ping"}')
        assert '"pong"' in socket.recv(timeout=10)


def test_a_person_asks_the_provider_and_is_answered(serve, provider):
    session = serve(provider.env_for_server).sign_in("ada")
    with session.socket() as socket:
        socket.send('{"type": "ask", "client_id": "first", "text": "Hello"}')
        received = [json.loads(socket.recv(timeout=10))]
        while received[-1]["type"] not in {"completed", "failed", "interrupted"}:
            received.append(json.loads(socket.recv(timeout=10)))
    assert received[0]["type"] == "accepted"
    assert received[-1]["type"] == "completed"
    assert "".join(event["text"] for event in received if event["type"] == "delta")
