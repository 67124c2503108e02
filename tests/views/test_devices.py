"""Where a user is signed in, and the sign-out of each device."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Device

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Safari/604.1"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"


@pytest.fixture(autouse=True)
def _nothing_noted():
    cache.clear()


def signed_in(user, agent):
    client = Client(headers={"User-Agent": agent})
    client.force_login(user)
    client.get(reverse("chat"))
    return client


def test_each_device_is_listed_with_its_last_use_and_can_be_signed_out(user, model):
    here, phone, office = (signed_in(user, agent) for agent in (FIREFOX, IPHONE, EDGE))
    page = here.get(reverse("settings")).content.decode()
    for words in ("Firefox on Linux", "Safari on iPhone", "Edge on Windows", "this device"):
        assert words in page
    Device.objects.filter(agent=IPHONE).update(last_used_at=timezone.now() - timedelta(hours=3))
    assert "used 3\xa0hours ago" in here.get(reverse("settings")).content.decode()

    here.post(reverse("sign_out_device", args=[Device.objects.get(agent=IPHONE).pk]))
    assert phone.get(reverse("chat")).status_code == 302
    assert office.get(reverse("chat")).status_code == 200
    here.post(reverse("sign_out_devices"))
    assert office.get(reverse("chat")).status_code == 302
    assert here.get(reverse("chat")).status_code == 200
    assert Session.objects.count() == 1


def test_a_device_of_another_user_is_not_signed_out(user, other_user, model):
    mine, theirs = signed_in(user, FIREFOX), signed_in(other_user, IPHONE)
    mine.post(reverse("sign_out_device", args=[Device.objects.get(user=other_user).pk]))
    mine.post(reverse("sign_out_devices"))
    assert theirs.get(reverse("chat")).status_code == 200


def test_the_last_use_is_written_rarely(user, model):
    client = signed_in(user, FIREFOX)
    noted = Device.objects.get().last_used_at
    client.get(reverse("chat"))
    assert Device.objects.get().last_used_at == noted
    cache.clear()
    client.get(reverse("chat"))
    assert Device.objects.get().last_used_at > noted


def test_a_session_that_ended_is_not_listed_and_its_row_goes(user, model):
    here = signed_in(user, FIREFOX)
    signed_in(user, IPHONE).post(reverse("signout"))
    assert "iPhone" not in here.get(reverse("settings")).content.decode()
    assert Device.objects.count() == 1
    Device.objects.update(last_used_at=timezone.now() - timedelta(days=400))
    assert Device.delete_unused(10) == 1


def test_an_unknown_browser_has_a_name_too(user, model):
    signed_in(user, "\x00curl")
    assert Device.objects.get().name == "Unknown device"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/140.0.0.0 Safari/537.36", "Chrome on Linux"),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 Safari/537.36", "Chrome on Linux"),
        (EDGE, "Edge on Windows"),
        ("curl/8.5.0", "Unknown device"),
    ],
)
def test_a_device_is_named_by_its_browser_and_system(agent, name):
    assert Device(agent=agent).name == name
