"""The access log: what is recorded, that it cannot be changed in the admin, and that tampering shows."""

import json

import pytest
from django.urls import reverse

from chat.models import AccessChain, AccessRecord
from chat.models.access_record import chain_faults
from tests.review.conftest import converse, staff_with, streamed

pytestmark = pytest.mark.django_db


def address(conversation):
    return reverse("admin:chat_conversation_change", args=[conversation.pk])


def test_opening_a_conversation_is_recorded(desk, reviewer, conversation):
    assert desk.get(address(conversation), REMOTE_ADDR="192.0.2.7").status_code == 200

    record = AccessRecord.objects.get()
    assert (record.action, record.actor_id, record.actor_name) == ("open", reviewer.pk, "vera")
    assert (record.conversation_id, record.subject_id) == (conversation.pk, conversation.user_id)
    assert record.address == "192.0.2.7"


def test_opening_ones_own_conversation_is_not_recorded(desk, reviewer, model):
    assert desk.get(address(converse(reviewer, model))).status_code == 200
    assert not AccessRecord.objects.exists()


def test_opening_a_generation_or_an_attempt_is_recorded(desk, conversation):
    generation = conversation.leaf.generations.get()
    desk.get(reverse("admin:chat_generation_change", args=[generation.pk]))
    desk.get(reverse("admin:chat_attempt_change", args=[generation.attempts.get().pk]))

    assert [
        (each.conversation_id, each.details["page"]) for each in AccessRecord.objects.order_by("number")
    ] == [
        (conversation.pk, "generation"),
        (conversation.pk, "attempt"),
    ]


def test_a_search_is_recorded_with_its_words(desk, conversation):
    desk.get(reverse("admin:chat_conversation_changelist"), {"q": "heap"})

    record = AccessRecord.objects.get()
    assert (record.action, record.details["words"]) == ("search", "heap")


def test_a_filtered_list_is_recorded_and_an_ordinary_one_is_not(desk, conversation):
    url = reverse("admin:chat_conversation_changelist")
    desk.get(url)
    desk.get(url, {"o": "1", "p": "0"})
    assert not AccessRecord.objects.exists()
    desk.get(url, {"kind": "program", "p": "0"})
    desk.get(reverse("admin:chat_generation_changelist"), {"status__exact": "failed"})
    assert [each.details["filters"] for each in AccessRecord.objects.order_by("number")] == [
        *("kind=program", "status__exact=failed")
    ]


def test_a_page_that_is_refused_is_not_recorded(client_of, conversation):
    nosy = client_of(staff_with("nosy"))
    assert nosy.get(address(conversation)).status_code == 403
    assert nosy.get(reverse("admin:chat_conversation_changelist"), {"q": "heap"}).status_code == 403
    assert not AccessRecord.objects.exists()


def test_nothing_is_shown_if_the_access_cannot_be_recorded(desk, conversation, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(AccessRecord, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        desk.get(address(conversation))


def test_even_a_superuser_can_neither_change_nor_delete_records(client_of, staff, desk, conversation):
    desk.get(address(conversation))
    owner = client_of(staff)
    page = reverse("admin:chat_accessrecord_change", args=[1])

    assert owner.get(page).status_code == 200
    assert owner.post(page, {"actor_name": "eve"}).status_code == 403
    assert owner.post(reverse("admin:chat_accessrecord_delete", args=[1]), {"post": "yes"}).status_code == 403
    assert owner.get(reverse("admin:chat_accessrecord_add")).status_code == 403
    owner.post(
        reverse("admin:chat_accessrecord_changelist"),
        {"action": "delete_selected", "_selected_action": [1], "post": "yes"},
    )
    assert AccessRecord.objects.get().actor_name == "vera"


@pytest.fixture
def three(desk, conversation):
    for _ in range(3):
        desk.get(address(conversation))


def test_an_untouched_chain_is_intact(three):
    assert list(chain_faults()) == []
    assert AccessChain.objects.get().count == 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_removed_record_shows(three, number):
    AccessRecord.objects.filter(number=number).delete()
    assert number in {fault.number for fault in chain_faults()}


@pytest.mark.parametrize(
    "change", [{"actor_name": "eve"}, {"reason": "x"}, {"details": {"page": "other"}}, {"subject_id": 77}]
)
def test_a_changed_record_shows(three, change):
    AccessRecord.objects.filter(number=2).update(**change)
    assert 2 in {fault.number for fault in chain_faults()}


def test_a_record_that_was_changed_with_its_hash_shows(three):
    record = AccessRecord.objects.get(number=2)
    record.actor_name = "eve"
    record.hash = record.computed_hash()
    record.save()
    assert 3 in {fault.number for fault in chain_faults()}


def test_a_log_that_was_emptied_shows(three):
    AccessRecord.objects.all().delete()
    assert list(chain_faults())


def test_owners_check_the_chain_in_the_admin(client_of, staff, three):
    owner = client_of(staff)
    page = reverse("admin:chat_accessrecord_check")
    assert "The chain is intact" in owner.get(page).content.decode()
    AccessRecord.objects.filter(number=2).delete()
    assert "The chain is broken" in owner.get(page).content.decode()


def test_the_log_is_downloaded_in_full_and_that_is_recorded(client_of, staff, three):
    response = client_of(staff).get(reverse("admin:chat_accessrecord_export"))
    rows = [json.loads(line) for line in streamed(response).splitlines()]

    assert [row["number"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["action"] == "read_log"
    assert rows[1]["previous_hash"] == rows[0]["hash"]


@pytest.mark.parametrize("name", ["changelist", "check", "export"])
def test_reviewers_do_not_see_the_access_log(desk, name):
    assert desk.get(reverse(f"admin:chat_accessrecord_{name}")).status_code == 403


# -- a required reason ----------------------------------------------------------------------------


def test_a_required_reason_is_asked_for_once_and_recorded(desk, conversation, settings):
    settings.ACCESS_REASON_REQUIRED = True
    asked = desk.get(address(conversation))
    assert asked.status_code == 302
    assert not AccessRecord.objects.exists()

    empty = desk.post(asked.url, {"reason": " ", "next": address(conversation)})
    assert "Write a reason first" in empty.content.decode()
    given = desk.post(asked.url, {"reason": "Complaint 17", "next": address(conversation)})
    assert given.url == address(conversation)
    assert desk.get(given.url).status_code == 200
    assert AccessRecord.objects.get().reason == "Complaint 17"


def test_a_search_needs_the_reason_too(desk, conversation, settings):
    settings.ACCESS_REASON_REQUIRED = True
    assert desk.get(reverse("admin:chat_conversation_changelist"), {"q": "heap"}).status_code == 302
    assert not AccessRecord.objects.exists()


def test_the_reason_page_leads_to_no_other_site(desk):
    response = desk.post(
        reverse("admin:chat_accessrecord_reason"), {"reason": "x", "next": "https://evil.example/"}
    )
    assert response.url == reverse("admin:index")
