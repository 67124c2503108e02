"""Private servers are private, empty and usable, also as root."""

import psycopg
import pytest
import redis

from tests.support import programs
from tests.support.programs import find, free_port
from tests.support.serving import Session


def test_a_missing_program_skips_loudly(monkeypatch):
    monkeypatch.setattr(programs, "missing", {})
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is missing"):
        find("no-such-program", "some-package")
    assert programs.missing == {"no-such-program": "some-package"}


def test_a_missing_program_is_a_failure_in_ci(monkeypatch):
    monkeypatch.setattr(programs, "missing", {})
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is missing"):
        find("no-such-program", "some-package")


@pytest.mark.services
def test_each_test_gets_an_empty_postgresql_database(postgres_url, postgres_server):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE here (it int)")
    with psycopg.connect(postgres_server.create()) as connection:
        assert connection.execute("SELECT to_regclass('here')").fetchone() == (None,)


@pytest.mark.services
@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_redis(redis_url, turn):
    with redis.Redis.from_url(redis_url) as connection:
        assert connection.dbsize() == 0
        connection.set("left", "behind")


@pytest.mark.services
def test_nginx_serves_the_configuration_of_a_test(nginx):
    port = free_port()
    nginx(f"server {{ listen 127.0.0.1:{port}; return 200 'hello'; }}", port=port)
    assert Session(f"http://127.0.0.1:{port}", {}).get("/").text == "hello"


@pytest.mark.browser
def test_chromium_draws_a_page(page):
    page.set_content("<p>hello")
    assert page.inner_text("p") == "hello"
