"""Certificates that are not trusted, and URLs with the other scheme than the server's."""

import subprocess

import pytest

from chat import upstream
from chat.fakeprovider import FakeProvider
from chat.upstream import errors
from tests.upstream.support import PATIENT, consume


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "provider.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", path, "-out", path], check=True, capture_output=True)
    return str(path)


async def error_at(base_url):
    """Ask at a base URL; return the error and the number of waits before another call."""
    waits, client = [], upstream.Client()

    async def note(wait_s):
        waits.append(wait_s)

    try:
        target = upstream.Target(base_url, "secret", "fake", timeouts=PATIENT)
        with pytest.raises(errors.UpstreamError) as raised:
            await consume(target, client=client, sleep=note)
    finally:
        await client.close()
    return raised.value, len(waits)


async def test_a_certificate_that_is_not_trusted_is_named_and_not_tried_again(certificate):
    async with FakeProvider(tls=certificate) as provider:
        error, waits = await error_at(provider.base_url)
    assert type(error) is errors.UntrustedCertificate
    assert waits == 0


async def test_a_certificate_of_a_known_authority_is_trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    async with FakeProvider(tls=certificate) as provider:
        client = upstream.Client()
        target = upstream.Target(provider.base_url, "secret", "fake", timeouts=PATIENT)
        steps = await consume(target, client=client)
        await client.close()
    assert isinstance(steps[-1], upstream.Finished)


async def test_https_at_a_port_without_tls_is_a_wrong_address():
    async with FakeProvider() as provider:
        error, waits = await error_at(provider.base_url.replace("http:", "https:"))
    assert type(error) is errors.WrongAddress
    assert waits == 0


async def test_http_at_a_port_with_tls_is_an_error_soon(certificate):
    async with FakeProvider(tls=certificate) as provider:
        error, _waits = await error_at(provider.base_url.replace("https:", "http:"))
    assert type(error) is errors.Unreachable
