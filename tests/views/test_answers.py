"""Sending by form: accepted and refused messages, and kept text."""

import pytest
from django.urls import reverse

from chat.models import Conversation, Endpoint, Generation, Message
from tests.views.test_pages import page_of


def ask(client, text, **fields):
    return client.post(reverse("ask"), {"text": text, "client_id": "a1", **fields})


def test_sending_starts_a_conversation_and_redirects_to_its_end(client, model):
    response = ask(client, "Hello\r\nthere")
    message = Message.objects.get(role="user")
    assert message.text == "Hello\nthere"
    assert response["Location"] == reverse("conversation", args=[message.conversation_id]) + "#end"
    assert Generation.objects.get().source == "form"


def test_sending_the_same_form_twice_stores_one_message(client, model):
    ask(client, "Hello")
    response = ask(client, "Hello")
    assert response.status_code == 302
    assert Message.objects.filter(role="user").count() == 1


def test_an_example_prompt_is_a_button_of_the_form(client, model):
    ask(client, "", example="Tell me a story")
    assert Message.objects.get(role="user").text == "Tell me a story"


def test_a_message_is_appended_to_the_last_answer(client, exchange):
    answer = exchange()
    ask(client, "And then?", conversation=str(answer.conversation_id))
    assert Message.objects.get(text="And then?").parent_id == answer.pk


def test_an_edit_is_a_sibling_and_the_earlier_version_stays(client, exchange):
    answer = exchange("Why?")
    ask(client, "Why not?", conversation=str(answer.conversation_id), is_edit="1", parent="")
    versions = Message.objects.filter(role="user", conversation=answer.conversation_id)
    assert [(m.text, m.parent_id) for m in versions] == [("Why?", None), ("Why not?", None)]
    page = client.get(reverse("conversation", args=[answer.conversation_id])).content.decode()
    assert "Version 2 of 2" in page


@pytest.mark.parametrize(("text", "status"), [("  ", 422), ("x" * 200, 422)])
def test_a_refused_text_is_still_in_the_composer(client, exchange, settings, text, status):
    settings.MESSAGE_MAX_CHARS = 100
    answer = exchange()
    response = ask(client, text, conversation=str(answer.conversation_id))
    assert response.status_code == status
    page = response.content.decode()
    assert f"\n{text}</textarea>" in page
    assert 'role="alert">' in page
    assert "Because." in page


def test_too_many_messages_answer_429_and_keep_the_text(client, exchange, settings):
    settings.ASKS_PER_MINUTE = 1
    exchange()
    response = ask(client, "once more")
    assert response.status_code == 429
    assert "once more</textarea>" in response.content.decode()


def test_sending_to_a_deleted_conversation_keeps_the_text(client, exchange):
    answer = exchange()
    answer.conversation.delete_softly()
    response = ask(client, "still here", conversation=str(answer.conversation_id))
    assert response.status_code == 404
    assert "still here</textarea>" in response.content.decode()


def test_an_invalid_form_keeps_the_text(client, model):
    response = ask(client, "kept", conversation="nonsense")
    assert response.status_code == 422
    assert "kept</textarea>" in response.content.decode()


def test_sending_after_the_session_ended_returns_the_text(client, model):
    client.logout()
    response = ask(client, "a long letter")
    assert response.status_code == 401
    assert "a long letter</textarea>" in response.content.decode()


def test_regenerating_creates_a_version(client, exchange):
    answer = exchange()
    client.post(reverse("regenerate", args=[answer.parent_id]), {"client_id": "b"})
    assert Message.objects.filter(parent=answer.parent_id).count() == 2


def test_continuing_extends_the_same_message(client, exchange):
    answer = exchange(answer="Half", status="stopped")
    client.post(reverse("resume", args=[answer.pk]), {"client_id": "b"})
    assert answer.generations.first().prefix == "Half"


@pytest.mark.parametrize("status", ["stopped", "failed"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_continuing_an_answer_without_text_is_refused_with_what_to_do(client, exchange, status, text):
    answer = exchange(answer=text, status=status)
    assert reverse("resume", args=[answer.pk]) not in page_of(client, answer.conversation).content.decode()
    response = client.post(reverse("resume", args=[answer.pk]), {"client_id": "b"})
    assert response.status_code == 422
    assert "has no text to continue. Use “Regenerate”" in response.content.decode()


def test_continuing_a_running_answer_or_a_question_is_refused_by_name(client, exchange):
    answer = exchange(answer="", status="running")
    running = client.post(reverse("resume", args=[answer.pk]), {"client_id": "b"})
    assert "still being written" in running.content.decode()
    question = client.post(reverse("resume", args=[answer.parent_id]), {"client_id": "b"})
    assert "Only an answer can be continued" in question.content.decode()


@pytest.mark.parametrize("name", ["text", "example", "system_prompt"])
def test_a_null_character_is_cleaned_and_not_refused(client, model, name):
    fields = {"text": "Hi", "client_id": "a"} | {name: "a\0b"}
    if name == "example":
        del fields["text"]
    assert client.post(reverse("ask"), fields).status_code == 302
    conversation = Conversation.objects.get()
    assert "ab" in (conversation.system_prompt, conversation.messages.first().text)


def test_continuing_a_complete_answer_is_refused_on_the_page(client, exchange):
    answer = exchange()
    response = client.post(reverse("resume", args=[answer.pk]), {"client_id": "b"})
    assert response.status_code == 422
    assert "cannot be continued" in response.content.decode()


def test_stopping_redirects_to_the_end(client, exchange):
    generation = exchange(status="running").generations.get()
    response = client.post(reverse("stop", args=[generation.pk]))
    generation.refresh_from_db()
    assert generation.stop_requested_at is not None
    assert response["Location"].endswith("#end")


def test_get_changes_nothing(client, exchange):
    answer = exchange()
    for name in ("regenerate", "resume", "select"):
        assert client.get(reverse(name, args=[answer.pk])).status_code == 405


def test_the_details_show_tokens_cost_and_attempts(client, exchange):
    answer = exchange(input_tokens=7, output_tokens=9, left_out=2, cost_usd="0.000123")
    generation = answer.generations.get()
    generation.attempts.create(number=1, model_name="test-model", outcome="failed", error_code="rate_limited")
    generation.attempts.create(number=2, model_name="test-model", outcome="completed", wait_s=1.5)
    details = client.get(reverse("details", args=[generation.pk])).content.decode()
    for words in (
        "7 in, 9 out",
        "with 2 calls.",
        'class="timeline"',
        "Backoff",
        "2 earlier messages",
        "$0.000123",
        "rate_limited",
        "1.5 s",
        "test-model",
    ):
        assert words in details


@pytest.mark.parametrize(
    ("reason", "words"),
    [("stop", ""), ("length", "(reached the length limit)"), ("odd_word", "(odd_word)")],
)
def test_the_details_say_why_an_answer_ended_unless_it_simply_ended(client, exchange, reason, words):
    generation = exchange(finish_reason=reason).generations.get()
    generation.attempts.create(number=1, model_name="m", outcome="failed", error_code="cut")
    page = client.get(reverse("details", args=[generation.pk])).content.decode()
    status = page.split("<dt>Status</dt>")[1].split("</dd>")[0]
    assert words in status
    assert ("(" in status) == bool(words)
    assert "(connection lost)" in page
    for empty in ("Queued", "Backoff"):
        assert empty not in page


def test_only_the_dialog_of_the_details_has_a_close_button(client, exchange):
    url = reverse("details", args=[exchange().generations.get().pk])
    assert "data-close" in client.get(url, headers={"HX-Request": "true"}).content.decode()
    assert "data-close" not in client.get(url).content.decode()


def test_choosing_a_version_shows_its_branch(client, exchange):
    answer = exchange("Why?", "Because.")
    client.post(reverse("regenerate", args=[answer.parent_id]), {"client_id": "b"})
    client.post(reverse("select", args=[answer.pk]))
    answer.conversation.refresh_from_db()
    assert answer.conversation.leaf_id == answer.pk


def test_the_source_of_a_message_is_plain_text(client, exchange):
    response = client.get(reverse("source", args=[exchange(answer="<b>**x**</b>").pk]))
    assert response["Content-Type"].startswith("text/plain")
    assert response.content == b"<b>**x**</b>"


def test_the_first_message_sets_the_settings_of_its_conversation(client, model):
    ask(client, "Hello", system_prompt="Be brief.", temperature="0.5")
    conversation = Message.objects.get(role="user").conversation
    assert (conversation.system_prompt, conversation.temperature) == ("Be brief.", 0.5)


@pytest.mark.parametrize("temperature", ["warm", "7", "nan"])
def test_an_invalid_temperature_is_refused_and_everything_else_is_kept(client, model, temperature):
    response = ask(client, "Hello", system_prompt="Be brief.", temperature=temperature)
    page = response.content.decode()
    assert response.status_code == 422
    assert "from 0 to 2" in page
    assert "\nHello</textarea>" in page
    assert "\nBe brief.</textarea>" in page
    assert '<details class="new-settings" id="new-settings" open>' in page
    assert not Message.objects.exists()


def test_a_question_for_later_is_a_choice_where_the_model_can_and_kept_when_refused(client, model, settings):
    page = client.get(reverse("chat")).content.decode()
    assert 'name="later"' not in page
    Endpoint.objects.update(has_batch_api=True)
    page = client.get(reverse("chat")).content.decode()
    assert 'name="later" value="1" aria-describedby="later-note">' in page
    assert "50</span> % of the price" in page
    ask(client, "Why?", later="1")
    assert Generation.objects.get().is_at_provider
    settings.MESSAGE_MAX_CHARS = 3
    refused = ask(client, "Why not?", later="1", client_id="a2").content.decode()
    assert 'aria-describedby="later-note" checked>' in refused
