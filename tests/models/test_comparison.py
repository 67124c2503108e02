"""Answers side by side: stored together, shown until one is chosen, and the choice is a preference."""

import json

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse
from django.utils import timezone

from chat.errors import RequestRefused
from chat.models import Comparison, Conversation, Generation, Message, Model
from chat.review import export
from chat.transcript.messages import message_page, message_view
from tests.review.conftest import staff_with
from tests.support.attachments import attach

pytestmark = pytest.mark.django_db


def same(text):
    return text


@pytest.fixture
def models(model):
    rows = [Model.objects.create(endpoint=model.endpoint, name=f"other-{number}") for number in range(3)]
    return [model, *rows]


@pytest.fixture
def compare(user, models):
    def ask(number=2, text="Which?", client_id="c1", **where):
        ids = [each.pk for each in models[:number]]
        return Comparison.ask(user, text, client_id=client_id, model_ids=ids, **where)

    return ask


def complete(*answers):
    for answer in answers:
        Message.objects.filter(pk=answer).update(text=f"text {answer}", html=f"<p>text {answer}</p>")
        Generation.objects.filter(message=answer).update(status="completed", finished_at=timezone.now())


def shown(user, started):
    conversation = Conversation.get_for(user, started.conversation_id)
    return [(view.message.pk, view.compared) for view in message_page(conversation).views]


def test_each_model_gets_an_answer_of_its_own_with_a_generation(compare, models):
    started = compare(4)
    answers = Message.objects.filter(parent=started.user_message_id)
    assert [run.model for run in Generation.objects.order_by("pk")] == models
    assert len(answers) == 4
    assert Comparison.objects.get().answers == [answer.pk for answer in answers]
    assert [other.message_id for other in started.others] == [answer.pk for answer in answers[1:]]


def test_each_model_that_is_asked_must_see_the_pictures(user, compare, models):
    picture = attach(user)
    Model.objects.filter(pk=models[0].pk).update(sees_images=True)
    with pytest.raises(RequestRefused, match="other-0 cannot see pictures") as refused:
        compare(2, attachments=[picture.pk])
    assert refused.value.code == "cannot_see"
    assert not Message.objects.exists()
    Model.objects.update(sees_images=True)
    compare(2, attachments=[picture.pk])
    assert Generation.objects.count() == 2


def test_a_repeat_stores_nothing_more(compare):
    first, again = compare(3), compare(3)
    assert again.is_repeat
    assert again.generation_id == first.generation_id
    assert Generation.objects.count() == 3
    assert Comparison.objects.count() == 1


@pytest.mark.parametrize("ids", [[0], [0, 0], [0, 1, 2, 3, 4]])
def test_other_numbers_of_models_are_refused_and_store_nothing(user, models, ids):
    chosen = [models[number % 4].pk if number < 4 else 9999 for number in ids]
    with pytest.raises(RequestRefused, match="two to four"):
        Comparison.ask(user, "Which?", client_id="c1", model_ids=chosen)
    assert not Conversation.objects.exists()


def test_an_unknown_model_stores_nothing(user, models):
    with pytest.raises(RequestRefused, match="no longer available"):
        Comparison.ask(user, "Which?", client_id="c1", model_ids=[models[0].pk, 9999])
    assert not Conversation.objects.exists()


def test_all_answers_are_shown_until_one_is_chosen(user, compare):
    started = compare(3)
    answers = [started.message_id, *(other.message_id for other in started.others)]
    assert shown(user, started) == [(started.user_message_id, 0), *((pk, 3) for pk in answers)]
    assert message_view(user, answers[2]).compared == 3
    complete(*answers)
    Comparison.decide(user, answers[1])
    assert shown(user, started) == [(started.user_message_id, 0), (answers[1], 0)]
    view = message_page(Conversation.objects.get()).views[-1]
    assert (view.version_number, view.version_count) == (2, 3)


def test_the_conversation_goes_on_with_the_chosen_answer_and_its_model(user, compare, models):
    started = compare(2)
    second = started.others[0].message_id
    complete(started.message_id, second)
    Comparison.decide(user, second)
    follow_up = Conversation.ask(user, "Why?", client_id="c2", conversation_id=started.conversation_id)
    assert Message.objects.get(pk=follow_up.user_message_id).parent_id == second
    assert follow_up.generation.model == models[1]
    assert Comparison.objects.get().verdict_on(started.message_id) == "rejected"


def test_no_preference_goes_on_and_stores_none(user, compare, models):
    started = compare(2)
    complete(started.message_id, started.others[0].message_id)
    Comparison.decide(user, started.message_id, is_tie=True)
    comparison = Comparison.objects.get()
    assert comparison.chosen is None
    assert set(Comparison.verdicts(pk=comparison.pk).values()) == {"tie"}
    assert shown(user, started)[-1] == (started.message_id, 0)


def test_an_answer_that_is_still_written_cannot_be_chosen(user, compare):
    started = compare(2)
    with pytest.raises(RequestRefused, match="still running"):
        Comparison.decide(user, started.message_id)


def test_a_second_choice_and_a_choice_of_another_user_are_refused(user, other_user, compare):
    started = compare(2)
    complete(started.message_id, started.others[0].message_id)
    with pytest.raises(RequestRefused, match="does not exist"):
        Comparison.decide(other_user, started.message_id)
    Comparison.decide(user, started.message_id)
    with pytest.raises(RequestRefused, match="not being compared"):
        Comparison.decide(user, started.others[0].message_id)


def test_a_conversation_that_went_on_elsewhere_shows_no_columns(user, compare):
    started = compare(2)
    complete(started.message_id, started.others[0].message_id)
    Conversation.regenerate(user, started.user_message_id, client_id="c3")
    assert [compared for _pk, compared in shown(user, started)] == [0, 0]


def test_the_form_compares_and_chooses_without_scripts(client_of, user, models):
    client = client_of(user)
    form = {"text": "Which?", "client_id": "f1", "model": models[0].pk}
    client.post(reverse("ask"), form | {"compare": [models[0].pk, models[1].pk, models[2].pk]})
    first, _second, third = Comparison.objects.get().answers
    complete(first, third)
    page = client.get(reverse("conversation", args=[Conversation.objects.get().pk])).content.decode()
    assert page.count('data-compared="3"') == 3
    assert page.count("Go on with this answer") == 2  # one is still being written
    client.post(reverse("choose", args=[third]))
    assert Comparison.objects.get().chosen_id == third


def test_reviewers_see_what_was_preferred_and_exports_have_it(client_of, user, compare):
    started = compare(2)
    second = started.others[0].message_id
    complete(started.message_id, second)
    Comparison.decide(user, second)
    staff = staff_with("vera", "view_conversation", "view_feedback")
    client = client_of(staff)
    page = client.get(reverse("admin:chat_conversation_change", args=[started.conversation_id]))
    assert 'class="comparison preferred"' in page.content.decode()
    rows = client.get(reverse("admin:chat_comparison_changelist")).content.decode()
    assert "other-0" in rows
    ids = [started.conversation_id]
    row = json.loads("".join(export.export(ids, export.ExportFormat.JSONL, same)))
    assert [each["comparison"] for each in row["messages"]] == [None, "rejected", "preferred"]
    tuning = json.loads("".join(export.export(ids, export.ExportFormat.FINE_TUNING, same)))
    wanted = {"question": 0, "chosen": f"text {second}", "rejected": [f"text {started.message_id}"]}
    assert tuning["preferences"] == [wanted]
    csv = "".join(export.export(ids, export.ExportFormat.CSV, same))
    assert ",preferred," in csv
    assert ",rejected," in csv


def test_the_list_of_comparisons_needs_the_permission_to_view_feedback(client_of, compare):
    compare(2)
    assert Permission.objects.filter(codename="view_comparison").exists()
    client = client_of(staff_with("vera", "view_conversation"))
    assert client.get(reverse("admin:chat_comparison_changelist")).status_code == 403
