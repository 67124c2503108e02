"""A server behind a real nginx with deploy/nginx.conf; only its addresses and folders are changed."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from http.client import HTTPConnection
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.chat_page import HALF, WORDS, composer, last_answer, send
from tests.support.programs import Program, free_port, nameless_files, until
from tests.support.provider_control import provider_text, release
from tests.support.serving import BASE_DIR, SOCKET_PATH, Provider, Server, Session
from tests.support.socket_client import ask, read, whole

pytestmark = pytest.mark.services

# The provider stops in the middle of this answer until the gate is released.
HELD = f"[[hold=gate after=20 chars=8 on=1]] [[text={WORDS}]]"


def configured(port, server, changes=()):
    """Return deploy/nginx.conf with the addresses and folders of this test, after `changes` to its text."""
    text = (BASE_DIR / "deploy" / "nginx.conf").read_text()
    own = (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("listen [::]:80;", ""),
        ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
        ("/var/lib/chatsite/", f"{server.data_dir}/"),
        ("/opt/chatsite/", f"{BASE_DIR}/"),
    )
    for old, new in (*changes, *own):
        assert old in text
        text = text.replace(old, new)
    return f"types {{ text/html html; text/css css; text/javascript js; }}\n{text}"


@dataclass(frozen=True)
class Site:
    """A server behind nginx, which clients reach at `url`."""

    server: Server
    provider: Provider
    nginx: Program
    url: str

    def visitor(self) -> Session:
        return Session(self.url, {})

    def sign_in(self) -> Session:
        return Session(self.url, self.server.sign_in().cookies)


@pytest.fixture
def site(serve, provider, nginx):
    """Return a function that starts a site: `site(*changes)`, with changes to the configuration."""

    def start(*changes):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = {"CHATSITE_PUBLIC_URL": url, "CHATSITE_TRUSTED_PROXIES": "127.0.0.1", "CHATSITE_DRAIN_S": "0"}
        server = serve(provider.env_for_server | {"OPENAI_MODEL": "fake"} | env)
        return Site(server, provider, nginx(configured(port, server, changes), port=port), url)

    return start


def workers(program):
    found = subprocess.run(["pgrep", "-P", str(program.pid)], capture_output=True, text=True)
    return {int(pid) for pid in found.stdout.split()}


# -- without a browser -----------------------------------------------------------------------------


def test_a_user_signs_in_by_form_and_receives_text_while_it_is_generated(site):
    site = site()
    site.server.query(
        "from django.contrib.auth.models import User;"
        "User.objects.create_user('ada', password='correct horse')"
    )
    user = site.visitor()
    assert user.get("/signin/").status == 200
    assert user.post("/signin/", {"username": "ada", "password": "correct horse"}).status == 302
    assert user.get("/").status == 200
    question = "hello [[hold=gate after=10]] [[deltas=40]]"
    with user.socket() as websocket:
        accepted = ask(websocket, question)
        for text, _last in read(websocket, accepted["generation"]):
            if len(text) == 40:  # ten deltas; the provider sends no more before the gate is released
                release(site.provider, "gate")
        assert text == provider_text(site.provider, question)
        assert whole(websocket, ask(websocket, "and more")["generation"])


def test_static_files_need_no_server_and_never_change(site):
    site = site()
    files = json.loads((site.server.data_dir / "static" / "staticfiles.json").read_text())["paths"]
    site.server.terminate()
    reply = site.visitor().get(f"/static/{files['chat/page.js']}", headers={"Accept-Encoding": "gzip"})
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/javascript"
    assert reply.headers["Content-Encoding"] == "gzip"
    assert "immutable" in reply.headers["Cache-Control"]


def test_while_the_server_is_down_each_kind_of_client_gets_a_fitting_reply(site):
    site = site()
    site.server.terminate()
    visitor = site.visitor()
    page = visitor.get("/")
    assert (page.status, page.headers["Retry-After"]) == (503, "5")
    assert 'http-equiv="refresh"' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    form = visitor.post("/signin/", {"username": "ada", "password": "correct horse"})
    assert form.status == 503
    assert 'http-equiv="refresh"' not in form.text
    assert "go back" in form.text
    program = visitor.post("/v1/chat/completions")
    assert (program.status, program.headers["Retry-After"]) == (503, "5")
    assert program.json()["error"]["code"] == "restarting"


def test_an_error_page_of_the_server_is_forwarded_unchanged(site):
    reply = site().visitor().get("/nowhere/")
    assert reply.status == 404
    assert "Content-Security-Policy" in reply.headers


def test_a_body_that_is_too_large_is_refused_with_an_explanation(site):
    site = site()
    body = b"x" * (2560 * 1024 + 1)
    reply = site.visitor().request("POST", "/ask/", body=body)
    assert reply.status == 413
    assert "send it in parts" in reply.text
    body = b"x" * (32 * 1024 * 1024 + 1)
    reply = site.visitor().request("POST", "/v1/chat/completions", body=body)
    assert reply.status == 413
    assert reply.json()["error"]["code"] == "request_too_large"
    assert "32 MB" in reply.json()["error"]["message"]
    reply = site.visitor().request("POST", "/v1/files", body=b"x" * (51 * 1024 * 1024 + 1))
    assert reply.status == 413
    assert "A file may have at most 50 MB" in reply.json()["error"]["message"]


def test_the_limits_of_nginx_let_the_ones_of_the_server_explain_themselves(site):
    site = site()
    user = site.sign_in()
    key = site.server.manage("api_key", "--user", "ada", "--name", "test").strip()
    form = {"Authorization": f"Bearer {key}", "Content-Type": "multipart/form-data; boundary=x"}
    octets = {"Content-Type": "application/octet-stream"}
    # A byte more than the server accepts.
    for path, size, headers in (
        ("/attachments/?name=a.txt", 20 * 1024 * 1024 + 1, octets),
        ("/v1/files", 50 * 1024 * 1024 + 64 * 1024 + 1, form),
        ("/v1/chat/completions", 20 * 1024 * 1024 + 1, form),
    ):
        reply = user.request("POST", path, body=b"x" * size, headers=headers)
        assert reply.status == 413, path
        is_page = reply.headers["Content-Type"].startswith("text/html")
        assert ("that are accepted here", "choose a smaller file")[is_page] in reply.text, path
        assert is_page == path.startswith("/attachments/")


def test_an_upload_that_ends_in_the_middle_leaves_nothing_behind(site):
    site = site()
    user = site.sign_in()
    head = "".join(f"{name}: {value}\r\n" for name, value in user.headers.items())
    size = 4 * 1024 * 1024
    for port in (int(site.url.rpartition(":")[2]), site.server.port):
        lines = f"POST /attachments/?name=a.txt HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}"
        with socket.create_connection(("127.0.0.1", port)) as cut:
            cut.sendall(f"{lines}Content-Length: {size}\r\n\r\n".encode() + b"x" * (size // 2))
            if port == site.server.port:
                until(lambda: nameless_files(site.server), "the server to receive half of it")
        until(lambda: not nameless_files(site.server), "the server to give up what it received")
    for name in ("attachments", "incoming"):
        folder = site.server.data_dir / name
        assert not folder.exists() or not [path for path in folder.rglob("*") if path.is_file()]
    code = "from chat.models import *; print(Attachment.objects.count(), LooseFile.objects.count())"
    assert site.server.query(code) == "0 0"
    assert user.request("POST", "/attachments/?name=a.txt", body=b"words").status == 201


def test_only_the_configured_network_may_read_readyz(site):
    inside = site()
    assert inside.visitor().get("/readyz").json()["ready"] is True
    outside = site(("allow 127.0.0.1;", "allow 192.0.2.0/24;"))
    assert outside.visitor().get("/readyz").status == 403
    assert outside.visitor().get("/readyz", headers={"X-Forwarded-For": "192.0.2.1"}).status == 403
    assert outside.visitor().get("/healthz").text == "ok"


def test_another_name_or_origin_is_refused(site):
    site = site()
    user = site.sign_in()
    assert user.get("/", headers={"Host": "evil.example"}).status == 400
    address = "ws" + site.url.removeprefix("http") + SOCKET_PATH
    cookies = {"Cookie": user.headers["Cookie"]}
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin="http://evil.example", additional_headers=cookies, proxy=None)
    evil_form = {"Origin": "http://evil.example"}
    assert user.post("/preferences/", {"theme": "dark"}, headers=evil_form).status == 403


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127.0.0.0/8 is this machine")
def test_failed_sign_ins_are_counted_by_the_address_that_nginx_sees(site):
    site = site()
    headers = site.visitor().headers | {"X-Forwarded-For": "192.0.2.7"}
    other = HTTPConnection(site.url.removeprefix("http://"), source_address=("127.0.0.2", 0), timeout=20)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    other.request("POST", "/signin/", "username=ada&password=wrong", headers | form)
    assert other.getresponse().status == 200
    code = "from chat.models.sign_in import SigninFailure; print(SigninFailure.objects.get().address)"
    assert site.server.query(code) == "127.0.0.2"


def test_a_stream_is_forwarded_without_buffering_and_with_a_request_id(nginx, tmp_path):
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        upstream = SimpleNamespace(port=listening.getsockname()[1], data_dir=tmp_path)
        nginx(configured(port, upstream), port=port)
        client = HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/v1/generations/1/events")
        served, _address = listening.accept()
        with served:
            head = served.recv(65_536).decode()
            start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            served.sendall(f"{start}data: 1\n".encode())
            # The stream is still open.
            assert client.getresponse().readline() == b"data: 1\n"
    assert re.search(r"^X-Request-ID: [0-9a-f]{32}\r$", head, re.M)
    assert "X-Forwarded-Proto: http\r\n" in head


def test_a_sign_in_link_is_not_in_the_access_log(site, tmp_path):
    log = tmp_path / "access.log"
    site = site(("server_name", f"access_log {log}; server_name"))
    site.visitor().get("/nowhere/")
    site.visitor().get("/signin/sesame/")
    until(lambda: "nowhere" in log.read_text(), "the access log")
    site.visitor().get("/nowhere/again/")
    until(lambda: "again" in log.read_text(), "the access log")
    assert "sesame" not in log.read_text()


def test_the_lines_for_tls_work_when_they_are_uncommented(serve, nginx, tmp_path):
    server, port, plain_port = serve(), free_port(), free_port()
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    live = "/etc/letsencrypt/live/chat.example.org"
    changes = (
        ("    listen 80;\n    listen [::]:80;\n    server_name", "    server_name"),
        ("#tls ", ""),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("listen [::]:443 ssl;", ""),
        (f"{live}/fullchain.pem", str(certificate)),
        (f"{live}/privkey.pem", str(key)),
    )
    nginx(configured(plain_port, server, changes), port=port)
    trust = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", context=trust, timeout=20) as reply:
        assert reply.read() == b"ok"
        assert "max-age" in reply.headers["Strict-Transport-Security"]
    moved = Session(f"http://127.0.0.1:{plain_port}", {}).get("/c/1?x=y")
    assert (moved.status, moved.headers["Location"]) == (301, "https://127.0.0.1/c/1?x=y")


# -- in a browser ----------------------------------------------------------------------------------


def ask_in(page, site, question):
    """Open the chat, ask, and wait until half of the answer is shown."""
    page.goto(site.url)
    send(page, question)
    expect(last_answer(page)).to_contain_text(HALF)


@pytest.mark.browser
@pytest.mark.parametrize("old_worker", ["lives on", "is stopped"])
def test_an_answer_survives_a_reload_of_nginx(site, page, old_worker):
    site = site()
    site.sign_in().enter(page.context)
    ask_in(page, site, HELD)
    before = workers(site.nginx)
    site.nginx.send(signal.SIGHUP)
    until(lambda: workers(site.nginx) - before, "new workers of nginx")
    if old_worker == "is stopped":
        for pid in before & workers(site.nginx):
            os.kill(pid, signal.SIGTERM)
        until(lambda: not before & workers(site.nginx), "the end of the old workers")
    release(site.provider, "gate")
    expect(last_answer(page)).to_have_text(WORDS)


@pytest.mark.browser
def test_a_restart_shows_a_page_that_reloads_itself_and_no_text_is_lost(site, page):
    site = site()
    site.sign_in().enter(page.context)
    ask_in(page, site, HELD)
    site.server.terminate()
    other = page.context.new_page()
    assert other.goto(site.url).status == 503
    expect(other.get_by_role("heading", name="Back in a moment")).to_be_visible()
    assert other.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "16px"
    site.server.start()
    expect(last_answer(page)).to_have_text(WORDS)
    expect(composer(other)).to_be_visible()


@pytest.mark.browser
def test_a_file_that_nginx_refuses_is_said_in_words_and_can_be_removed(site, page):
    # A proxy whose limit is smaller than the one that the page knows.
    site = site(("client_max_body_size 21m;", "client_max_body_size 1m;"))
    site.sign_in().enter(page.context)
    page.goto(site.url)
    composer(page).fill("what is in it [[text=Nothing now.]]")
    for size, words in (
        (3 * 1024 * 1024, "The server does not accept a file of this size."),
        (20 * 1024 * 1024 + 1, "Files may have up to 20.0\u00a0MB."),
    ):
        file = {"name": "large.txt", "mimeType": "text/plain", "buffer": b"x" * size}
        page.set_input_files("#files", file)
        failed = page.locator(".file-chip[data-state=failed]")
        expect(failed).to_contain_text(words)
        expect(page.get_by_role("button", name="Try large.txt again")).to_have_count(0)
        page.get_by_role("button", name="Remove large.txt").click()
        expect(failed).to_have_count(0)
    page.set_input_files("#files", {"name": "small.txt", "mimeType": "text/plain", "buffer": b"words"})
    expect(page.locator(".file-chip[data-state=ready]")).to_have_count(1)
    composer(page).press("Enter")
    expect(last_answer(page)).to_have_text("Nothing now.")
    shown = page.locator("article.question")
    expect(shown).to_contain_text("what is in it")
    expect(shown).to_contain_text("small.txt")
