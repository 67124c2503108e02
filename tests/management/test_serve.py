"""`manage.py serve` as a process: preparation, errors, output, shutdown."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from chat.management.listening import listen
from tests.support.programs import until
from tests.support.provider_control import release
from tests.support.serving import Provider, Server, stored
from tests.support.socket_client import ask, follow, read, whole

type Serve = Callable[..., Server]

URL = r"^Chatsite is running at (http://127\.0\.0\.1:(\d+))/"


def wait_until_ready(server: Server) -> str:
    """Wait until the server prints its URL, and return that."""
    return server.wait_for_line(URL, deadline_s=60)[1]


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        # A killed child stays a zombie until it is reaped.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_first_start_prepares_everything_and_prints_a_link_for_the_owner(serve: Serve) -> None:
    server = serve(is_prepared=False)
    url = wait_until_ready(server)
    assert url == server.base_url
    assert re.search(rf"^  {url}/signin/[\w-]{{32}}/$", server.log, re.M)
    assert (server.data_dir / "static" / "staticfiles.json").exists()
    assert len(server.log.splitlines()) <= 6
    assert server.visitor().get("/signin/").status == 200


def test_ctrl_c_exits_with_code_0_and_the_next_start_prepares_nothing(serve: Serve) -> None:
    server = serve()
    server.send(signal.SIGINT)
    assert server.wait() == 0
    assert server.log.splitlines()[-1] == "Stopped."
    again = serve(data_of=server)
    assert "Preparing" not in again.log
    assert "Collecting" not in again.log


def test_the_owners_link_is_not_printed_once_the_owner_has_a_password(serve: Serve) -> None:
    server = serve()
    server.query(
        "from django.contrib.auth.models import User;"
        "u = User.objects.get(); u.set_password('correct horse'); u.save()"
    )
    server.terminate()
    assert "/signin/" not in serve(data_of=server).log


def test_a_second_server_on_the_database_prints_the_url_of_the_first(serve: Serve) -> None:
    first = serve()
    second = serve(data_of=first, is_started=False)
    super(Server, second).start()
    assert second.wait() == 1
    assert second.log == f"Chatsite is already running at {first.base_url} (process {first.pid}).\n"


def test_the_lock_of_a_killed_server_is_released(serve: Serve) -> None:
    server = serve()
    server.kill9()
    server.start()
    assert json.loads((server.data_dir / "db.sqlite3.lock").read_text())["pid"] == server.pid


def test_instead_of_a_taken_port_another_one_is_used_and_reported(serve: Serve) -> None:
    server = serve(is_started=False)
    with closing(listen("127.0.0.1", server.port)):
        super(Server, server).start()
        url = wait_until_ready(server)
    assert url != server.base_url
    assert f"Port {server.port} is taken. Using port" in server.log


def test_a_server_that_other_machines_can_reach_prints_a_warning(serve: Serve) -> None:
    server = serve({}, "--host", "0.0.0.0")
    assert "every machine that can reach this address" in server.log
    assert "CHATSITE_ALLOWED_HOSTS" in server.log
    assert server.visitor().get("/signin/").status == 200


@pytest.mark.parametrize("port", ["-1", "65536", "8000x", "", "٣"])
def test_an_invalid_port_is_refused(serve: Serve, port: str) -> None:
    server = serve({}, f"--port={port}", is_started=False)
    super(Server, server).start()
    assert server.wait() == 2
    assert "is not a port (0 to 65535)" in server.log


def test_a_host_that_is_not_this_machine_is_refused_in_one_line(serve: Serve) -> None:
    server = serve({}, "--host", "192.0.2.1", is_started=False)
    super(Server, server).start()
    assert server.wait() == 1
    assert server.log.splitlines()[-1].startswith("Cannot listen on 192.0.2.1")


def test_a_database_that_cannot_be_used_is_reported_in_one_line(serve: Serve) -> None:
    server = serve(is_started=False)
    (server.data_dir / "db.sqlite3").write_text("this is no database" * 100)
    super(Server, server).start()
    assert server.wait() == 1
    assert server.log == "The database cannot be used: file is not a database\n"


def test_a_websocket_with_another_origin_or_without_one_is_refused(serve: Serve) -> None:
    server = serve()
    for origin in ("http://127.0.0.1:1", None):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{server.port}/ws/", origin=origin, proxy=None)
    with pytest.raises(InvalidStatus, match="403"):
        server.visitor().socket("/nowhere/")
    assert "Traceback" not in server.log


def test_a_restart_closes_open_sockets_with_1012(serve: Serve) -> None:
    server = serve()
    with server.sign_in().socket() as websocket:
        server.send(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            list(websocket)
    assert closed.value.rcvd.code == 1012
    assert server.wait() == 0
    assert "Traceback" not in server.log


def ask_and_read_half(server: Server) -> int:
    """Start an answer that pauses in the middle; return its generation once the first half is shown."""
    with server.sign_in().socket() as websocket:
        accepted = ask(websocket, "[[hold=gate after=10 on=1]] [[deltas=20]]")
        for text, _seq in read(websocket, accepted["generation"]):
            if len(text) == 40:
                return int(accepted["generation"])
    raise AssertionError("the answer ended")


def test_a_running_answer_is_completed_during_the_drain(serve: Serve, provider: Provider) -> None:
    server = serve(provider.env_for_server | {"CHATSITE_DRAIN_S": "30"})
    generation = ask_and_read_half(server)
    server.send(signal.SIGTERM)
    server.wait_for_line("^Stopping")
    release(provider, "gate")
    assert server.wait() == 0
    status, text, calls, epoch = stored(server, generation)
    assert (status, len(text), calls, epoch) == ("completed", 80, 1, 1)


def test_an_answer_that_outlasts_the_drain_is_handed_over_without_loss(
    serve: Serve, provider: Provider
) -> None:
    server = serve(provider.env_for_server | {"CHATSITE_DRAIN_S": "0"})
    generation = ask_and_read_half(server)
    assert server.terminate() == 0
    assert "Traceback" not in server.log
    code = "from chat.event_log.read import replay; print(len(replay({}).text))"
    assert server.query(code.format(generation)) == "40"
    assert stored(server, generation)[0] == "queued"
    server.start()
    with server.sign_in().socket() as websocket:
        follow(websocket, generation)
        assert len(whole(websocket, generation)) == 80


def test_a_second_signal_ends_the_drain_and_the_next_start_completes_the_answer(
    serve: Serve, provider: Provider
) -> None:
    server = serve(provider.env_for_server | {"CHATSITE_DRAIN_S": "300"})
    generation = ask_and_read_half(server)
    server.send(signal.SIGTERM)
    server.wait_for_line("^Stopping")
    server.send(signal.SIGTERM)
    assert server.wait(deadline_s=10) == 128 + signal.SIGTERM
    server.start()
    with server.sign_in().socket() as websocket:
        follow(websocket, generation)
        assert len(whole(websocket, generation)) == 80


@pytest.mark.embedded
def test_the_demo_model_starts_with_the_server_and_exits_when_it_is_killed(serve: Serve) -> None:
    server = serve({"CHATSITE_EMBEDDED_MODEL": "1"})
    server.wait_for_line("The demo model is ready", deadline_s=60)
    child = int(subprocess.check_output(["pgrep", "-P", str(server.pid)], text=True).split()[0])
    arguments = Path(f"/proc/{child}/cmdline").read_text()
    assert arguments.split("\0")[1:] == ["-m", "chat.local_model.child", ""]
    server.kill9()
    until(lambda: not is_alive(child), "the end of the demo model")


@pytest.mark.embedded
def test_a_killed_demo_model_is_restarted_and_exits_with_the_server(serve: Serve) -> None:
    server = serve({"CHATSITE_EMBEDDED_MODEL": "1"})
    server.wait_for_line("The demo model is ready", deadline_s=60)

    def child() -> str:
        found = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True, text=True)
        return found.stdout.strip()

    first = child()
    os.kill(int(first), signal.SIGKILL)
    second = until(lambda: (now := child()) not in {"", first} and now, "another child")
    assert server.terminate() == 0
    until(lambda: not is_alive(int(second)), "the end of the demo model")
