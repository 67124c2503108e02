"""The admin: its sign-in, read-only logs, few queries, and no inline styles, which its CSP would block."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from chat.models import Attempt, Conversation, Endpoint, Generation, Message, Model, Process, SigninFailure

ROWS = 50


@pytest.fixture
def desk(client_of, staff):
    return client_of(staff)


@pytest.fixture
def reviewer(db, client_of):
    """Return a client of staff who may view everything and are not superusers."""
    vera = User.objects.create_user("vera", password="x", is_staff=True)
    vera.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return client_of(vera)


def converse(user, model, number=1, **kwargs):
    conversation = Conversation.objects.create(user=user, title=f"Talk {number}", model=model, **kwargs)
    question = conversation.messages.create(role=Message.Role.USER, text=f"<b>question {number}</b>")
    answer = conversation.messages.create(
        role=Message.Role.ASSISTANT,
        parent=question,
        text=f"*answer* {number}",
        html=f'<p dir="auto"><em>answer</em> {number}</p>',
    )
    generation = answer.generations.create(
        user=user,
        client_id=f"c{number}",
        model=model,
        model_name=model.name,
        status="completed",
        finished_at=timezone.now(),
    )
    generation.attempts.create(number=1, model_name=model.name, outcome="completed")
    conversation.leaf = answer
    conversation.save()
    return conversation


@pytest.fixture
def conversation(user, model):
    return converse(user, model)


@pytest.fixture
def many(model):
    """Store many rows, each of a different user."""
    for number in range(ROWS):
        converse(User.objects.create(username=f"user{number}"), model, number)
        Process.objects.create(id=f"p{number}", host="host", pid=number + 1, status={"running": number})
        endpoint = Endpoint.objects.create(name=f"endpoint {number}", base_url="http://127.0.0.1:9/v1")
        Model.objects.create(endpoint=endpoint, name=f"model {number}")


def page(client, name, *args, **query):
    response = client.get(reverse(f"admin:{name}", args=args, query=query))
    assert response.status_code == 200
    return response.content.decode()


OURS = [Attempt, Conversation, Endpoint, Generation, Model, Process, User]


# -- sign-in --------------------------------------------------------------------------------------


def test_the_admin_redirects_to_the_throttled_sign_in_page(client, db):
    url = reverse("admin:chat_conversation_changelist")
    response = client.get(url, follow=True)

    assert response.redirect_chain[-1][0].startswith(reverse("signin"))
    assert response.context["next"] == url


def test_a_password_posted_to_the_admin_is_not_checked(client, staff):
    response = client.post(reverse("admin:login"), {"username": "grace", "password": "nanoseconds"})

    assert response.headers["Location"].startswith(reverse("signin"))
    assert "_auth_user_id" not in client.session
    assert not SigninFailure.objects.exists()


def test_users_who_are_not_staff_are_refused_without_a_redirect_loop(client_of, user):
    response = client_of(user).get(reverse("admin:index"), follow=True)

    assert response.status_code == 403
    assert "No access" in response.content.decode()


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example"])
def test_the_admins_sign_in_does_not_redirect_to_other_sites(desk, elsewhere):
    response = desk.get(reverse("admin:login"), {"next": elsewhere})

    assert response.headers["Location"] == reverse("admin:index")


# -- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OURS)
def test_a_list_of_fifty_rows_makes_few_queries(desk, many, kind, django_assert_max_num_queries):
    name = f"{kind._meta.app_label}_{kind._meta.model_name}_changelist"
    with django_assert_max_num_queries(12):
        html = page(desk, name)

    assert html.count('class="action-select"') >= ROWS or html.count("<tr>") >= ROWS


@pytest.mark.parametrize("words", ["Talk 7", "question 7", "user7"])
def test_conversations_are_found_by_title_text_and_user(desk, many, words):
    html = page(desk, "chat_conversation_changelist", q=words)
    assert "Talk 7<" in re.sub("</?mark>", "", html)


def test_a_search_that_finds_nothing_shows_nothing(desk, conversation):
    assert "Talk 1<" not in page(desk, "chat_conversation_changelist", q="no such words")


def test_the_page_of_a_user_links_to_their_conversations(desk, conversation, other_user, model):
    converse(other_user, model, 2)

    link = re.search(
        r'href="(/admin/chat/conversation/\?[^"]+)"', page(desk, "auth_user_change", conversation.user_id)
    )
    html = desk.get(link[1]).content.decode()

    assert "Talk 1<" in html
    assert "Talk 2<" not in html


def test_conversations_can_be_filtered_by_deletion(desk, conversation):
    conversation.delete_softly()

    assert "Talk 1<" in page(desk, "chat_conversation_changelist", deleted="yes")
    assert "Talk 1<" not in page(desk, "chat_conversation_changelist", deleted="no")


# -- the transcript -------------------------------------------------------------------------------


def test_a_transcript_shows_rendered_answers_and_escaped_questions(reviewer, conversation):
    html = page(reviewer, "chat_conversation_change", conversation.pk)

    assert '<p dir="auto"><em>answer</em> 1</p>' in html
    assert "&lt;b&gt;question 1&lt;/b&gt;" in html
    assert "<b>question 1</b>" not in html


def test_a_transcript_shows_versions_and_marks_other_branches(reviewer, conversation):
    first = conversation.leaf
    conversation.leaf = conversation.messages.create(
        role=Message.Role.ASSISTANT, parent=first.parent, text="another answer"
    )
    conversation.save()

    html = page(reviewer, "chat_conversation_change", conversation.pk)

    assert "version 1 of 2" in html
    assert "version 2 of 2" in html
    assert html.count("Another version, 1 message") == 1
    assert html.index("another answer") < html.index('class="side-branch"') < html.index("<em>answer</em> 1")


@pytest.fixture
def long(user):
    conversation = Conversation.objects.create(user=user, title="Long")
    Message.objects.bulk_create(
        Message(
            pk=1_000 + number,
            conversation=conversation,
            parent_id=999 + number if number else None,
            role=Message.Role.USER,
            text=f"message no. {number}.",
        )
        for number in range(2_000)
    )
    conversation.leaf_id = 2_999
    conversation.save()
    return conversation


def test_a_long_transcript_is_paged(reviewer, long, django_assert_max_num_queries):
    with django_assert_max_num_queries(20):
        html = page(reviewer, "chat_conversation_change", long.pk, page=40)

    assert "message no. 1999." in html
    assert "message no. 1949." not in html
    assert "Page 40 of 40" in html


def test_a_link_to_a_message_opens_its_page(reviewer, long):
    assert "message no. 1234." in page(reviewer, "chat_conversation_change", long.pk, message=1_000 + 1234)


@pytest.mark.parametrize(
    "query", [{"page": "x"}, {"page": "-1"}, {"page": "999"}, {"message": "x"}, {"message": "9" * 40}]
)
def test_a_page_that_does_not_exist_is_replaced_by_one_that_does(reviewer, conversation, query):
    assert "question 1" in page(reviewer, "chat_conversation_change", conversation.pk, **query)


# -- changes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Generation, Attempt, Process])
def test_logs_cannot_be_added_changed_or_deleted_even_by_superusers(rf, staff, model):
    request = rf.get("/")
    request.user = staff
    log = admin.site.get_model_admin(model)

    assert log.has_view_permission(request)
    assert not log.has_add_permission(request)
    assert not log.has_change_permission(request)
    assert not log.has_delete_permission(request)


def test_a_reviewer_cannot_delete_or_change_anything(reviewer, conversation):
    assert reviewer.get(reverse("admin:chat_conversation_delete", args=[conversation.pk])).status_code == 403
    reviewer.post(reverse("admin:chat_conversation_change", args=[conversation.pk]), {"title": "Changed"})

    conversation.refresh_from_db()
    assert conversation.title == "Talk 1"


def test_an_endpoint_shows_whether_its_key_is_set_and_never_the_key(desk, monkeypatch):
    endpoint = Endpoint.objects.create(
        name="e", base_url="https://a.example/v1", api_key_env="CHATSITE_KEY_TEST"
    )
    monkeypatch.delenv("CHATSITE_KEY_TEST", raising=False)
    assert "CHATSITE_KEY_TEST is not set" in page(desk, "chat_endpoint_changelist")

    monkeypatch.setenv("CHATSITE_KEY_TEST", "sk-very-secret")
    for html in (page(desk, "chat_endpoint_changelist"), page(desk, "chat_endpoint_change", endpoint.pk)):
        assert "CHATSITE_KEY_TEST is set" in html
        assert "sk-very-secret" not in html


def test_an_endpoint_that_names_a_secret_of_the_server_says_that_it_is_not_allowed(desk):
    Endpoint.objects.create(name="e", base_url="https://a.example/v1", api_key_env="CHATSITE_SECRET_KEY")
    assert "CHATSITE_SECRET_KEY is not allowed" in page(desk, "chat_endpoint_changelist")


def test_an_invalid_endpoint_is_refused_with_a_reason(desk):
    data = {"name": "e", "base_url": "ftp://x", "api_key_env": "sk-abc", "slots": 0}
    html = desk.post(reverse("admin:chat_endpoint_add"), data).content.decode()

    assert "Enter a URL such as" in html
    assert "Enter the name of an environment variable" in html
    assert not Endpoint.objects.exists()


def test_a_model_is_added_with_its_fallback(desk, model):
    data = {
        "fallbacks-TOTAL_FORMS": 1,
        "fallbacks-INITIAL_FORMS": 0,
        "fallbacks-0-position": 0,
        "fallbacks-0-fallback": model.pk,
        "endpoint": model.endpoint_id,
        "name": "other",
        "is_enabled": "on",
        "is_default": "on",
        "context_tokens": 4096,
        "continuation": "none",
        "batch_factor": "0.5",
    }
    assert desk.post(reverse("admin:chat_model_add"), data).status_code == 302
    assert [model.name for model in Model.objects.get(is_default=True).route()] == ["other", "test-model"]


def test_a_context_that_nobody_set_is_unknown(desk, model):
    data = {
        "fallbacks-TOTAL_FORMS": 0,
        "fallbacks-INITIAL_FORMS": 0,
        "endpoint": model.endpoint_id,
        "name": "other",
        "context_tokens": "",
        "continuation": "none",
        "batch_factor": "0.5",
    }
    assert desk.post(reverse("admin:chat_model_add"), data).status_code == 302
    assert Model.objects.get(name="other").context_tokens is None
    assert '<span class="number">unknown</span>' in page(desk, "chat_model_changelist")


# -- every page -----------------------------------------------------------------------------------


def test_every_page_opens_without_inline_styles_and_handlers(desk, conversation, model):
    Process.objects.create(id="p", host="host", pid=1, status={"running": 1})
    pages = [page(desk, "index"), page(desk, "auth_user_add"), page(desk, "chat_model_add")]
    for kind in OURS:
        name = f"{kind._meta.app_label}_{kind._meta.model_name}"
        pages += [
            page(desk, f"{name}_changelist"),
            page(desk, f"{name}_change", kind.objects.first().pk),
        ]
        # Nothing in a conversation can be changed, so it has no history.
        pages += [] if kind is Conversation else [page(desk, f"{name}_history", kind.objects.first().pk)]

    for html in pages:
        assert not re.search(r"<[^>]+\sstyle=", html)
        assert not re.search(r"<[^>]+\son\w+=", html)


def test_a_generation_links_to_its_conversation_and_lists_its_attempts(reviewer, conversation):
    generation = Generation.objects.get()

    html = page(reviewer, "chat_generation_change", generation.pk)

    assert reverse("admin:chat_conversation_change", args=[conversation.pk]) in html
    assert "attempts-group" in html


def test_a_process_shows_its_status_as_json(reviewer):
    Process.objects.create(id="p", host="host", pid=1, status={"slots": {"a": 1}})

    assert "&quot;slots&quot;: {" in page(reviewer, "chat_process_change", "p")
