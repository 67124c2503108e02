"""The harness of the real programs: they start, answer, are killed and restart."""

import json
import urllib.request


def test_the_fake_provider_starts_and_prints_its_address(provider):
    with urllib.request.urlopen(f"{provider.base_url}/models", timeout=10) as reply:
        assert reply.status == 200


def test_the_server_is_killed_and_restarts_on_the_same_port(serve):
    server = serve()
    server.kill9()
    assert not server.is_running
    server.restart()
    assert server.is_running
    assert server.terminate() == 0


def test_a_signed_in_user_can_open_a_socket(serve, provider):
    session = serve(provider.env_for_server).sign_in("ada")
    with session.socket() as socket:
        socket.send('{"type": "ping"}')
        assert '"pong"' in socket.recv(timeout=10)


def test_a_question_is_answered_by_the_provider(serve, provider):
    session = serve(provider.env_for_server).sign_in("ada")
    with session.socket() as socket:
        socket.send('{"type": "ask", "client_id": "first", "text": "Hello"}')
        received = [json.loads(socket.recv(timeout=10))]
        while received[-1]["type"] not in {"completed", "failed", "interrupted"}:
            received.append(json.loads(socket.recv(timeout=10)))
    assert received[0]["type"] == "accepted"
    assert received[-1]["type"] == "completed"
    assert "".join(event["text"] for event in received if event["type"] == "delta")
