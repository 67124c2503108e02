"""Sign-in by password and link, the throttle, passwords and registration."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.errors import RequestRefused
from chat.models import SigninFailure, SigninLink
from chat.models.session import valid_sessions

PASSWORD = "correct horse"


def sign_in(client, name="ada", password=PASSWORD, **kwargs):
    data = {"username": name, "password": password, **kwargs.pop("data", {})}
    return client.post(reverse("signin"), data, **kwargs)


def is_signed_in(client):
    return "_auth_user_id" in client.session


# -- by password ----------------------------------------------------------------------------------


def test_the_right_password_signs_in(client, user):
    response = sign_in(client)

    assert response.headers["Location"] == reverse("chat")
    assert is_signed_in(client)


def test_the_page_asked_for_follows_signing_in(client, user):
    assert sign_in(client, data={"next": "/password/"}).headers["Location"] == "/password/"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_no_other_site_follows_signing_in(client, user, elsewhere):
    assert sign_in(client, data={"next": elsewhere}).headers["Location"] == reverse("chat")


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(user):
    def page(name):
        response = sign_in(Client(), name, "wrong")
        form = response.context["form"]
        return response.status_code, form.non_field_errors(), form.errors

    assert page("ada") == page("nobody")


def test_a_disabled_user_gets_the_answer_of_an_unknown_name(client, user):
    user.is_active = False
    user.save()

    assert sign_in(client).context["form"].non_field_errors() == (
        sign_in(client, "nobody").context["form"].non_field_errors()
    )


def test_an_unknown_name_costs_as_much_hashing_as_a_wrong_password(client, user, monkeypatch):
    hashed = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda self, *args: hashed.append(1) or encode(self, *args)
    )

    sign_in(client, "ada", "wrong")
    for_known = len(hashed)
    sign_in(client, "nobody", "wrong")

    assert len(hashed) - for_known == for_known


def test_the_form_helps_password_managers(client, db):
    page = client.get(reverse("signin")).content.decode()

    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page


# -- the throttle ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_the_sixth_failure_of_a_name_is_refused_and_says_how_long_to_wait(client, user, name):
    for _ in range(SigninFailure.PER_NAME):
        assert sign_in(client, name, "wrong").status_code == 200

    response = sign_in(client, name, "wrong")

    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 300
    assert "5 minutes" in response.content.decode()


def test_while_a_name_is_throttled_even_the_right_password_is_refused(client, user):
    for _ in range(SigninFailure.PER_NAME):
        sign_in(client, password="wrong")

    assert sign_in(client).status_code == 429
    assert not is_signed_in(client)


def test_case_and_spaces_do_not_make_another_name(client, user):
    for name in ("ada", "ADA", " ada ", "Ada", "aDa"):
        sign_in(client, name, "wrong")

    assert sign_in(client, "ada").status_code == 429


def test_throttling_one_name_does_not_affect_another(client, user, other_user):
    for _ in range(SigninFailure.PER_NAME + 1):
        sign_in(client, password="wrong")

    assert sign_in(client, "bob", "battery staple").status_code == 302


def test_an_address_that_tries_many_names_is_refused(client, user):
    for number in range(SigninFailure.PER_ADDRESS):
        sign_in(client, f"name{number}", "wrong")

    assert sign_in(client).status_code == 429
    assert sign_in(client, REMOTE_ADDR="192.0.2.1").status_code == 302


def test_all_addresses_of_one_ipv6_network_count_together(client, user):
    for number in range(SigninFailure.PER_ADDRESS):
        sign_in(client, f"name{number}", "wrong", REMOTE_ADDR=f"2001:db8::{number:x}")

    assert sign_in(client, REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert sign_in(client, REMOTE_ADDR="2001:db8:0:1::1").status_code == 302


def test_without_a_client_address_only_names_are_throttled(client, user):
    for number in range(SigninFailure.PER_ADDRESS + 1):
        sign_in(client, f"name{number}", "wrong", REMOTE_ADDR="")

    assert sign_in(client, REMOTE_ADDR="").status_code == 302


def test_after_the_wait_another_try_is_allowed(client, user):
    for _ in range(SigninFailure.PER_NAME):
        sign_in(client, password="wrong")
    SigninFailure.objects.update(created_at=timezone.now() - SigninFailure.WINDOW - timedelta(seconds=1))

    assert sign_in(client).status_code == 302


def test_refused_attempts_do_not_extend_the_wait(client, user):
    for _ in range(SigninFailure.PER_NAME + 10):
        sign_in(client, password="wrong")

    assert SigninFailure.objects.count() == SigninFailure.PER_NAME


def test_success_deletes_the_failures_of_that_name(client, user):
    sign_in(client, password="wrong")
    sign_in(client)

    assert not SigninFailure.objects.exists()


def test_old_failures_are_deleted(client, user):
    old = timezone.now() - SigninFailure.WINDOW - timedelta(seconds=1)
    SigninFailure.objects.create(name_digest="x", address="192.0.2.1", created_at=old)

    sign_in(client, password="wrong")

    assert SigninFailure.objects.count() == 1


def test_the_typed_name_is_not_stored(client, db):
    sign_in(client, "my password by mistake", "wrong")

    assert "mistake" not in str(SigninFailure.objects.values().get())


def test_attempts_that_begin_together_are_counted_together(db):
    attempts = [SigninFailure.expect("ada", "192.0.2.1") for _ in range(SigninFailure.PER_NAME)]

    with pytest.raises(RequestRefused):
        SigninFailure.expect("ada", "192.0.2.1")
    attempts[0].forgive()
    SigninFailure.expect("ada", "192.0.2.1")


# -- signing out ----------------------------------------------------------------------------------


def test_only_a_post_signs_out(client_of, user):
    browser = client_of(user)

    assert browser.get(reverse("signout")).status_code == 405
    assert is_signed_in(browser)
    assert browser.post(reverse("signout")).headers["Location"] == reverse("signin")
    assert not is_signed_in(browser)


# -- by link --------------------------------------------------------------------------------------


@pytest.fixture
def owner(db):
    user = get_user_model()(username="owner", is_staff=True, is_superuser=True)
    user.set_unusable_password()
    user.save()
    return user


def link_to(user):
    return reverse("signin_link", args=[SigninLink.make(user.pk)])


def test_opening_a_link_does_not_use_it_up(client, owner):
    link = link_to(owner)

    assert client.get(link).status_code == 200
    assert client.head(link).status_code == 200
    assert not is_signed_in(client)
    assert client.post(link).status_code == 302


def test_a_link_signs_in_once_and_asks_for_a_password(client, owner):
    link = link_to(owner)

    assert client.post(link).headers["Location"] == reverse("password_set")
    assert is_signed_in(client)
    assert Client().post(link).status_code == 404


def test_a_link_of_a_user_with_a_password_leads_to_the_chat(client, user):
    assert client.post(link_to(user)).headers["Location"] == reverse("chat")


def test_of_two_browsers_with_one_link_one_gets_in(owner):
    link = SigninLink.find(SigninLink.make(owner.pk))

    assert [link.use(), link.use()] == [True, False]


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_expired_link_says_how_to_get_a_new_one(client, owner, method):
    used, old, unknown = link_to(owner), link_to(owner), reverse("signin_link", args=["nonsense"])
    SigninLink.objects.update(created_at=timezone.now() - SigninLink.LIFETIME)

    for link in (used, old, unknown):
        response = getattr(client, method)(link)
        assert response.status_code == 404
        assert "manage.py signin_link" in response.content.decode()
    assert not is_signed_in(client)


def test_a_link_of_a_disabled_user_is_expired(client, owner):
    link = link_to(owner)
    get_user_model().objects.update(is_active=False)

    assert client.post(link).status_code == 404


def test_a_link_needs_a_csrf_token(owner):
    assert Client(enforce_csrf_checks=True).post(link_to(owner)).status_code == 403


# -- passwords ------------------------------------------------------------------------------------


def test_a_user_without_a_password_sets_one_and_stays_signed_in(client_of, owner):
    browser = client_of(owner)

    response = browser.post(
        reverse("password_set"), {"new_password1": "a9!kdjw2", "new_password2": "a9!kdjw2"}
    )

    assert response.headers["Location"] == reverse("chat")
    assert browser.get(reverse("password_change")).status_code == 200
    assert sign_in(Client(), "owner", "a9!kdjw2").status_code == 302


def test_a_weak_password_is_refused_with_a_reason(client_of, owner):
    response = client_of(owner).post(
        reverse("password_set"), {"new_password1": "password", "new_password2": "password"}
    )

    assert "too common" in response.content.decode()


def test_a_user_with_a_password_cannot_set_one_without_the_old_one(client_of, user):
    browser = client_of(user)

    response = browser.post(
        reverse("password_set"), {"new_password1": "a9!kdjw2", "new_password2": "a9!kdjw2"}
    )

    assert response.headers["Location"] == reverse("password_change")
    user.refresh_from_db()
    assert user.check_password(PASSWORD)


def test_changing_the_password_keeps_this_session_and_ends_the_others(client_of, user):
    here, elsewhere = client_of(user), client_of(user)
    elsewhere_key = elsewhere.session.session_key

    here.post(
        reverse("password_change"),
        {"old_password": PASSWORD, "new_password1": "a9!kdjw2", "new_password2": "a9!kdjw2"},
    )

    assert here.get(reverse("password_changed")).status_code == 200
    assert elsewhere.get(reverse("password_changed")).status_code == 302
    assert not valid_sessions({(elsewhere_key, user.pk)})


def test_password_pages_need_a_signed_in_user(client, db):
    for name in ("password_change", "password_changed", "password_set"):
        for method in (client.get, client.post):
            assert method(reverse(name)).headers["Location"].startswith(reverse("signin"))
            assert method(reverse(name), headers={"HX-Request": "true"}).status_code == 401


# -- registration ---------------------------------------------------------------------------------


def test_registration_is_closed_and_not_mentioned_unless_opened(client, db):
    assert client.get(reverse("register")).status_code == 404
    assert client.post(reverse("register"), {"username": "eve"}).status_code == 404
    assert reverse("register") not in client.get(reverse("signin")).content.decode()


def test_with_open_registration_a_visitor_can_create_an_account(client, db, settings):
    settings.REGISTRATION_IS_OPEN = True
    assert reverse("register") in client.get(reverse("signin")).content.decode()

    data = {"username": "eve", "password1": "a9!kdjw2", "password2": "a9!kdjw2"}
    assert client.post(reverse("register"), data).headers["Location"] == reverse("chat")

    assert is_signed_in(client)
    eve = get_user_model().objects.get(username="eve")
    assert not eve.is_staff
    assert not eve.is_superuser
