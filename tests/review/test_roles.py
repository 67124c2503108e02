"""Who may do what: every page of the admin for every role, and each action of a review by its permission."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from chat.models import AccessRecord, Assignment, Criterion, Erasure, Label, Mark, Redaction
from tests.review.conftest import converse, staff_with, streamed

pytestmark = pytest.mark.django_db

REGISTERED = [model for model in apps.get_models() if admin.site.is_registered(model)]
# Pages that every member of staff has, which show nothing of users.
FOR_ALL_STAFF = {
    *("index", "login", "logout", "password_change", "password_change_done", "autocomplete", "jsi18n"),
    *("view_on_site", "app_list", "chat_accessrecord_reason"),
}


def admin_names():
    """Return the names of all URLs of the admin, with the number of their arguments."""
    [root] = [each for each in get_resolver().url_patterns if getattr(each, "app_name", "") == "admin"]

    def walk(patterns):
        for each in patterns:
            if isinstance(each, URLResolver):
                yield from walk(each.url_patterns)
            elif isinstance(each, URLPattern) and each.name:
                yield each.name, len(each.pattern.converters)

    return sorted(set(walk(root.url_patterns)))


def row_of(name, conversation):
    """Return the key of a row that a page could show."""
    generation = conversation.leaf.generations.get()
    keys = {
        "conversation": conversation.pk,
        "generation": generation.pk,
        "attempt": generation.attempts.get().pk,
        "user": conversation.user_id,
        "model": conversation.model_id,
        "endpoint": conversation.model.endpoint_id,
        "label": Label.objects.first().pk,
        "criterion": Criterion.objects.first().pk,
        "accessrecord": 1,
    }
    return keys.get(name.split("_")[1] if "_" in name else "", 1)


def responses(client, conversation):
    for name, arguments in admin_names():
        if name in FOR_ALL_STAFF:
            continue
        args = [row_of(name, conversation)] * arguments
        url = reverse(f"admin:{name}", args=args)
        query = {"id": str(conversation.pk)} if name == "chat_conversation_export" else {}
        yield name, client.get(url, query), client.post(url, {"action": "flag"})


def is_refused(response):
    """Return whether a response shows nothing. Django redirects to the index if an object does not exist."""
    is_missing = response.status_code == 302 and response.url == reverse("admin:index")
    return is_missing or response.status_code in {403, 404, 405}


def test_staff_without_permissions_get_nothing_by_any_url(client_of, conversation):
    AccessRecord.add("open", actor_id=1, actor_name="x")
    nobody = client_of(staff_with("nobody"))

    for name, got, posted in responses(nobody, conversation):
        assert is_refused(got), name
        assert is_refused(posted), name
    assert AccessRecord.objects.count() == 1
    assert not Mark.objects.exists()


def test_users_who_are_not_staff_get_nothing_by_any_url(client_of, other_user, conversation):
    outside = client_of(other_user)

    for name, got, posted in responses(outside, conversation):
        assert got.status_code in {302, 403, 404}, name
        assert posted.status_code in {302, 403, 404}, name
        assert b"What is a heap" not in got.content, name


@pytest.mark.parametrize("codename", ["review", "export", "redact"])
def test_a_permission_to_act_does_not_allow_reading(client_of, conversation, codename):
    half = client_of(staff_with("half", f"{codename}_conversation"))
    url = reverse("admin:chat_conversation_change", args=[conversation.pk])

    assert half.get(url).status_code == 403
    assert half.get(url.replace("change", "panel")).status_code == 403
    assert half.get(url.replace("change", "redact")).status_code == 403
    export = reverse("admin:chat_conversation_export")
    assert half.get(export, {"id": conversation.pk}).status_code == 403
    assert half.get(reverse("admin:chat_conversation_queue")).status_code == 403


def test_reading_does_not_allow_acting(client_of, conversation):
    reader = client_of(staff_with("reader", "view_conversation"))
    url = reverse("admin:chat_conversation_change", args=[conversation.pk])
    page = reader.get(url)

    assert page.status_code == 200
    assert b'id="panel"' not in page.content
    panel = reverse("admin:chat_conversation_panel", args=[conversation.pk])
    assert reader.post(panel, {"action": "flag"}).status_code == 403
    redact = reverse("admin:chat_conversation_redact", args=[conversation.pk])
    posted = reader.post(redact, {"what": "phrase", "phrase": "heap", "reason": "x"})
    assert posted.status_code == 403
    assert reader.get(reverse("admin:chat_conversation_export"), {"id": conversation.pk}).status_code == 403
    assert not Mark.objects.exists()
    assert not Redaction.objects.exists()


ACTIONS = ["mark_reviewed", "mark_flagged", "add_label", "assign", "export_jsonl", "export_csv"]


@pytest.mark.parametrize("action", ACTIONS)
def test_bulk_actions_need_their_permission_also_when_posted_directly(client_of, conversation, action):
    reader = client_of(staff_with("reader", "view_conversation"))
    label = Label.objects.first()
    reader.post(
        reverse("admin:chat_conversation_changelist"),
        {"action": action, "_selected_action": [conversation.pk], "label": label.pk},
    )
    assert not Mark.objects.exists()
    assert not Assignment.objects.exists()
    assert not AccessRecord.objects.filter(action="export").exists()


def test_only_managers_assign_to_others(desk, reviewer, client_of, conversation):
    tom = staff_with("tom", "view_conversation", "review_conversation")
    panel = reverse("admin:chat_conversation_panel", args=[conversation.pk])
    form = {"action": "assign", "reviewer": tom.pk}

    assert desk.post(panel, form).status_code == 403
    chief = client_of(staff_with("chief", "view_conversation", "review_conversation", "manage_review"))
    assert chief.post(panel, form).status_code == 302
    assert Assignment.objects.get().reviewer == tom
    assert Assignment.objects.get().assigned_by_name == "chief"


def test_conversations_are_assigned_to_reviewers_only(client_of, user, conversation):
    chief = client_of(staff_with("chief", "view_conversation", "review_conversation", "manage_review"))
    panel = reverse("admin:chat_conversation_panel", args=[conversation.pk])
    response = chief.post(panel, {"action": "assign", "reviewer": user.pk})
    assert response.status_code == 422
    assert not Assignment.objects.exists()


def test_content_cannot_be_changed_even_by_a_superuser(client_of, staff, conversation):
    owner = client_of(staff)
    message = conversation.leaf
    for name, pk in (
        ("conversation", conversation.pk),
        ("generation", message.generations.get().pk),
        ("attempt", message.generations.get().attempts.get().pk),
    ):
        url = reverse(f"admin:chat_{name}_change", args=[pk])
        assert owner.post(url, {"title": "forged", "text": "forged"}).status_code == 403, name
        assert owner.get(reverse(f"admin:chat_{name}_add")).status_code == 403, name
    message.refresh_from_db()
    assert message.text == "A *heap* is a tree."


def test_the_group_reviewers_can_read_and_judge_and_nothing_else(desk, conversation):
    page = desk.get(reverse("admin:chat_conversation_change", args=[conversation.pk])).content.decode()
    assert 'id="panel"' in page
    assert "Redact" not in page
    assert "Export" not in page
    assert desk.get(reverse("admin:auth_user_changelist")).status_code == 403


def test_the_navigation_leads_only_to_pages_that_open(desk, conversation):
    html = desk.get(reverse("admin:index")).content.decode()
    navigation = html[html.index('id="navigation"') : html.index("</nav>")]
    links = [part.split('"')[0] for part in navigation.split('href="')[1:] if part.startswith("/admin/")]
    assert len(links) >= 4
    for link in links:
        assert desk.get(link).status_code == 200, link


def test_the_navigation_has_every_list_of_the_admin(client_of, staff):
    html = client_of(staff).get(reverse("admin:index")).content.decode()
    navigation = html[html.index('id="navigation"') : html.index("</nav>")]
    for model in REGISTERED:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        assert f'href="{reverse(name)}"' in navigation, name


def test_every_page_opens_for_a_superuser(client_of, staff, conversation):
    owner = client_of(staff)
    AccessRecord.add("open", actor_id=1, actor_name="x")
    shown = {"changelist", "add", "change", "history", "queue", "agreement", "check", "panel", "redact"}
    opened = 0
    for name, arguments in admin_names():
        if name.rpartition("_")[2] not in shown:
            continue
        got = owner.get(reverse(f"admin:{name}", args=[row_of(name, conversation)] * arguments))
        assert got.status_code in {200, 302, 403, 404, 405}, name
        opened += got.status_code == 200
    assert opened >= len(REGISTERED)


def test_an_export_by_a_permitted_member_of_staff_works(client_of, conversation):
    clerk = client_of(staff_with("clerk", "view_conversation", "export_conversation"))
    got = clerk.get(reverse("admin:chat_conversation_export"), {"id": conversation.pk, "format": "csv"})
    assert got.status_code == 200
    assert b"What is a heap?" in streamed(got)


def test_erased_conversations_are_gone_for_all(client_of, staff, user, model):
    conversation = converse(user, model)
    Erasure.objects.request_conversations([conversation.pk])
    owner = client_of(staff)
    for name in ("change", "panel", "redact"):
        url = reverse(f"admin:chat_conversation_{name}", args=[conversation.pk])
        assert owner.get(url).status_code == 404, name
    export = reverse("admin:chat_conversation_export")
    assert owner.get(export, {"id": conversation.pk}).status_code == 404
