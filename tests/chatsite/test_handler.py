"""Requests that Django cannot read get status 400, and the log no traceback."""

import json
import logging

import pytest
from asgiref.sync import SyncToAsync
from channels.testing import ApplicationCommunicator

from chatsite.asgi import application

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
FILES = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
CSRF = "a" * 32


async def send(path="/signin/", *, content_type=FORM, body=b"a=1", headers=(), method="POST"):
    """Send a form with a CSRF cookie, which makes Django read it; return status and text."""
    names = {"host": "localhost", "cookie": f"csrftoken={CSRF}", "content-type": content_type}
    names |= {"content-length": str(len(body)), **dict(headers)}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in names.items()],
        "client": ["127.0.0.1", 1],
        "server": ["127.0.0.1", 8000],
    }
    client = ApplicationCommunicator(application, scope)
    await client.send_input({"type": "http.request", "body": body, "more_body": False})
    start = await client.receive_output(10)
    text = b""
    while (part := await client.receive_output(10)) and part.get("more_body"):
        text += part.get("body", b"")
    return start["status"], (text + part.get("body", b"")).decode()


CHARSETS = [
    *("foo", "rot13", "base64", "zlib", "hex", "bz2", "idna", "punycode", "undefined", "unicode_escape"),
    *(
        "raw_unicode_escape",
        "utf-7",
        "utf-16",
        "utf-32",
        "latin-1",
        "cp037",
        "mbcs",
        "utf8\0",
        "\xff",
        "x" * 300,
    ),
    *('"utf-8', "", " ", "../../etc/passwd", "utf-8-sig"),
]


@pytest.mark.parametrize("kind", [FORM, FILES])
@pytest.mark.parametrize("charset", CHARSETS)
async def test_a_form_in_another_charset_is_rejected_or_read_as_utf8(charset, kind):
    body = PART if kind == FILES else b"a=1"
    status, text = await send(content_type=f"{kind}; charset={charset}", body=body)
    assert status in {400, 403}  # 403: it was read, and has no CSRF token
    assert "Bad request" in text or "Reload and try again" in text


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "us-ascii"])
async def test_a_form_in_utf8_is_read(charset):
    token = f"csrfmiddlewaretoken={CSRF}".encode()
    found = [
        await send("/healthz", content_type=f"{FORM}; charset={charset}", body=body)
        for body in (token, b"a=1")
    ]
    assert [status for status, _text in found] == [200, 403]


@pytest.mark.parametrize(
    "content_type",
    [
        "a; b*=foo'en'x",
        "text/html; charset*=x''y",
        "a; b*=unknown''%ff",
        "a" + ";" * 2000,
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/form-data; boundary=\xff",
        "application/json; charset=rot13",
        "=",
        ";;;",
        "\xff\xfe",
    ],
)
async def test_no_content_type_is_a_server_error(content_type):
    assert (await send(content_type=content_type, body=PART))[0] in {400, 403}


@pytest.mark.parametrize(
    "disposition",
    [
        "form-data; name*=foo''x",
        "form-data",
        "",
        'form-data; name="\xff"',
        'form-data; name="a"; filename="x"',
    ],
)
async def test_no_part_of_a_form_is_a_server_error(disposition):
    head = f"--b\r\nContent-Disposition: {disposition}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    body = head.encode("latin-1") + b"1\r\n--b--\r\n"
    assert (await send(content_type=FILES, body=body))[0] in {400, 403}


async def test_errors_of_the_api_are_json():
    status, text = await send("/v1/models", content_type="a; b*=foo'en'x")
    assert (status, json.loads(text)["error"]["code"]) == (400, "malformed_request")
    status, text = await send("/v1/models", headers={"host": "evil.example"})
    assert (status, json.loads(text)["error"]["code"]) == (400, "malformed_request")


async def test_too_many_fields_and_files_are_rejected():
    assert (await send(body=b"&".join(b"a=1" for _ in range(1001))))[0] == 400
    file = b'--b\r\nContent-Disposition: form-data; name="a"; filename="x"\r\n\r\n1\r\n'
    assert (await send(content_type=FILES, body=file * 2 + b"--b--\r\n"))[0] == 400


async def test_a_form_that_is_larger_than_any_page_sends_is_rejected(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    status, text = await send(body=b"a=" + b"x" * 2000)
    assert (status, "Go back in your browser" in text) == (413, True)


def test_a_rejected_request_is_one_line_of_the_log(client, settings):
    lines = []

    class Handler(logging.StreamHandler):
        def emit(self, record):
            lines.extend(self.format(record).splitlines())

    handler = Handler()
    logging.getLogger().addHandler(handler)
    stderr = next(each for each in logging.getLogger().handlers if each.filters)
    for rule in stderr.filters:
        handler.addFilter(rule)
    try:
        client.get("/signin/", headers={"host": "x" * 9000 + ".example"})
    finally:
        logging.getLogger().removeHandler(handler)
    assert len(lines) == 1
    assert len(lines[0]) < 250


async def test_a_page_is_made_in_one_visit_to_its_thread(monkeypatch):
    visits, visit = [], SyncToAsync.__call__

    def counted(self, *args, **kwargs):
        visits.append(self.func)
        return visit(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    status, text = await send(method="GET", body=b"")
    assert status == 200
    assert "<form" in text
    # Beside it, Django's signals at the beginning and the end of a request tidy its connections.
    names = [func.__name__ for func in visits]
    assert names.count("get_response") == 1
    assert set(names) <= {"get_response", "sync_send"}
