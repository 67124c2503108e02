"""Budgets in the admin: whom one is for, what may be changed later, and who may do so."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from chat.models import Budget
from chat.models.budget import presence

ADD = {"amount": "10", "unit": "usd", "period": "month", "warning_percent": "80"}


@pytest.fixture
def desk(client_of, staff):
    yield client_of(staff)
    presence.note(any_exist=False)


def add(client, **fields):
    return client.post(reverse("admin:chat_budget_add"), ADD | fields)


def test_the_field_that_is_filled_in_says_whom_a_budget_is_for(desk, user):
    group = Group.objects.create(name="class")
    assert add(desk).status_code == 302
    assert add(desk, user=user.pk).status_code == 302
    assert add(desk, group=group.pk, is_shared="on", unit="tokens", amount="5000").status_code == 302
    found = [str(each) for each in Budget.objects.order_by("pk")]
    assert found == [
        "$10.00 per month for each user",
        "$10.00 per month for ada",
        "5,000 tokens per month for all of class together",
    ]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"user": True, "group": True}, "not several"),
        ({"is_shared": "on"}, "Only the members of a group"),
        ({"unit": "tokens", "amount": "1.5"}, "whole number"),
        ({"amount": "-1"}, "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_with_a_budget_is_said_beside_it(desk, user, fields, problem):
    ids = {"user": user.pk, "group": Group.objects.create(name="class").pk}
    response = add(desk, **{name: ids.get(name, value) for name, value in fields.items()})
    assert problem in response.content.decode()
    assert not Budget.objects.exists()


def test_later_only_the_amount_and_the_warning_change(desk, user, model):
    budget = Budget.objects.create(scope="user", user=user, amount=10)
    budget.uses.create(starts_on=budget.starts_on(), used=9_000_000)
    url = reverse("admin:chat_budget_change", args=[budget.pk])
    html = desk.get(url).content.decode()
    assert "$9.00" in html
    assert 'name="unit"' not in html
    inline = {"uses-TOTAL_FORMS": "0", "uses-INITIAL_FORMS": "0"}
    changed = {"amount": "20", "warning_percent": "50", "unit": "tokens", "period": "day", **inline}
    assert desk.post(url, changed).status_code == 302
    budget.refresh_from_db()
    assert (budget.amount, budget.warning_percent, budget.unit, budget.period) == (20, 50, "usd", "month")
    html = desk.get(reverse("admin:chat_budget_changelist")).content.decode()
    assert "45 %</meter>" in html
    assert f"have no prices, so their answers do not count against budgets in dollars: {model}." in html


def test_only_staff_with_the_permission_see_budgets(client_of, db):
    vera = User.objects.create_user("vera", is_staff=True)
    url = reverse("admin:chat_budget_changelist")
    assert client_of(vera).get(url).status_code == 403
    vera.user_permissions.set(Permission.objects.filter(codename="view_budget"))
    client = client_of(vera)
    assert client.get(url).status_code == 200
    assert add(client).status_code == 403
