"""Registration, if the operator has opened it, and its throttle."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Registration

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-pass-phrase"


@pytest.fixture(autouse=True)
def open_registration(settings):
    settings.REGISTRATION_IS_OPEN = True


def register(name, address="192.0.2.1", password=PASSWORD):
    data = {"username": name, "password1": PASSWORD, "password2": password, "usable_password": "true"}
    return Client(REMOTE_ADDR=address).post(reverse("register"), data)


def test_an_address_can_create_only_so_many_accounts_in_an_hour():
    responses = [register(f"user{number}") for number in range(40)]
    created = [response for response in responses if response.status_code == 302]
    refused = responses[len(created) :]
    assert len(created) == User.objects.count() == Registration.PER_ADDRESS
    assert {response.status_code for response in refused} == {429}
    assert 0 < int(refused[0].headers["Retry-After"]) <= 3600
    assert "Too many accounts" in refused[0].content.decode()


def test_other_addresses_are_not_affected_and_a_network_of_ipv6_is_one_address():
    for number in range(Registration.PER_ADDRESS):
        assert register(f"user{number}", f"2001:db8::{number + 1}").status_code == 302
    assert register("late", "2001:db8::ffff").status_code == 429
    assert register("other", "2001:db8:0:1::1").status_code == 302
    assert register("another", "198.51.100.1").status_code == 302


def test_an_hour_later_accounts_can_be_created_again():
    for number in range(Registration.PER_ADDRESS + 1):
        register(f"user{number}")
    Registration.objects.update(created_at=timezone.now() - timedelta(hours=1, seconds=1))
    assert register("patient").status_code == 302
    assert Registration.objects.count() == 1  # what is over is deleted


def test_a_form_with_a_mistake_does_not_count():
    for _ in range(Registration.PER_ADDRESS + 1):
        assert register("ada", password="different").status_code == 200
    assert register("ada").status_code == 302
