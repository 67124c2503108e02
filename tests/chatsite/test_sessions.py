"""Session keys that no session can have are not looked up."""

import pytest
from django.http import parse_cookie

from chatsite.sessions import SessionStore

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("cookie", ['"\\000abcdefgh"', "é" * 10, "a b c d e f", "", "'; drop table x"])
def test_an_impossible_key_is_no_session_and_needs_no_query(cookie, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert SessionStore(parse_cookie(f"sessionid={cookie}")["sessionid"]).get("x") is None


def test_a_session_is_found_again():
    session = SessionStore()
    session["x"] = 1
    session.create()
    assert SessionStore(session.session_key)["x"] == 1
