"""The review desk: marks are attributed, judged by the rubric, shown where they belong, and few queries."""

import pytest
from django.urls import reverse
from django.utils import timezone

from chat import events
from chat.models import AccessRecord, Assignment, Criterion, Feedback, Label, LoggedEvent, Mark, Message
from chat.review.reviewers import progress
from tests.review.conftest import converse, finish, staff_with

pytestmark = pytest.mark.django_db


def panel(conversation):
    return reverse("admin:chat_conversation_panel", args=[conversation.pk])


def transcript(client, conversation, **query):
    response = client.get(reverse("admin:chat_conversation_change", args=[conversation.pk]), query)
    assert response.status_code == 200
    return response.content.decode()


# -- marks ----------------------------------------------------------------------------------------


def test_a_flag_has_an_author_a_date_and_a_reason_and_can_be_resolved(desk, conversation):
    before = timezone.now()
    desk.post(panel(conversation), {"action": "flag", "text": "looks wrong"})
    flag = Mark.objects.get()
    assert (flag.kind, flag.author_name, flag.text, flag.message_id) == ("flag", "vera", "looks wrong", None)
    assert before <= flag.created_at <= timezone.now()

    desk.post(panel(conversation), {"action": "flag", "text": "sent twice"})
    desk.post(panel(conversation), {"action": "resolve"})
    flag.refresh_from_db()
    assert flag.resolved_by_name == "vera"
    assert Mark.objects.count() == 1
    assert "resolved by vera" in transcript(desk, conversation)


def test_a_label_is_put_on_a_message_and_taken_off(desk, conversation):
    label = Label.objects.first()
    form = {"action": "label", "message": conversation.leaf_id}
    for _sent_twice in range(2):
        response = desk.post(panel(conversation), {**form, "add": label.pk})
    assert response.url.endswith(f"?message={conversation.leaf_id}#m{conversation.leaf_id}")
    assert Mark.objects.get().message_id == conversation.leaf_id
    for _sent_twice in range(2):
        desk.post(panel(conversation), {**form, "remove": label.pk})
    assert not Mark.objects.exists()


def test_a_label_out_of_use_cannot_be_put_on(desk, conversation):
    label = Label.objects.first()
    Label.objects.update(is_active=False)
    response = desk.post(panel(conversation), {"action": "label", "add": label.pk})
    assert response.status_code == 422
    assert not Mark.objects.exists()


def test_a_verdict_is_replaced_and_withdrawn(desk, conversation):
    helpful = Criterion.objects.get(name="Helpful")
    form = {"action": "judge", "criterion": helpful.pk, "message": conversation.leaf_id}
    for value in ("3", "5"):
        desk.post(panel(conversation), {**form, "value": value})
    assert Mark.objects.get().value == 5
    desk.post(panel(conversation), {**form, "value": ""})
    assert not Mark.objects.exists()


@pytest.mark.parametrize("value", ["0", "6", "yes", "-1", "²", "9" * 40])
def test_a_value_that_the_scale_does_not_have_is_refused(desk, conversation, value):
    helpful = Criterion.objects.get(name="Helpful")
    form = {"action": "judge", "criterion": helpful.pk, "value": value}
    response = desk.post(panel(conversation), form, headers={"X-Requested-With": "fetch"})
    assert response.status_code == 422
    assert "takes one of" in response.content.decode()
    assert not Mark.objects.exists()


@pytest.mark.parametrize(
    "form",
    [
        {"action": "steal"},
        {},
        {"action": "label", "add": "x"},
        {"action": "judge", "criterion": "99999"},
        {"action": "note", "text": "  "},
        {"action": "note", "text": "x" * 10_001},
        {"action": "delete_note", "mark": "1"},
    ],
)
def test_a_form_that_makes_no_sense_says_so(desk, conversation, form):
    assert desk.post(panel(conversation), form).status_code == 422
    assert not Mark.objects.exists()


def test_a_message_of_another_conversation_cannot_be_marked(desk, conversation, other_user, model):
    theirs = converse(other_user, model)
    for message in (theirs.leaf_id, "x", "9" * 30):
        response = desk.post(panel(conversation), {"action": "flag", "message": message})
        assert response.status_code == 404
    assert not Mark.objects.exists()


def test_only_the_author_deletes_a_note(desk, conversation):
    note = Mark.objects.create(kind="note", conversation=conversation, author_name="tom", text="mine")
    desk.post(panel(conversation), {"action": "delete_note", "mark": note.pk})
    assert Mark.objects.filter(pk=note.pk).exists()
    desk.post(panel(conversation), {"action": "note", "text": "own"})
    own = Mark.objects.get(author_name="vera")
    desk.post(panel(conversation), {"action": "delete_note", "mark": own.pk})
    assert not Mark.objects.filter(pk=own.pk).exists()


def test_the_verdict_of_others_is_hidden_until_ones_own_is_given(desk, conversation):
    tom = staff_with("tom", "view_conversation", "review_conversation")
    helpful = Criterion.objects.get(name="Helpful")
    Mark.objects.create(
        kind="verdict", conversation=conversation, criterion=helpful, value=2, author=tom, author_name="tom"
    )
    assert "tom: 2" not in transcript(desk, conversation)
    desk.post(panel(conversation), {"action": "judge", "criterion": helpful.pk, "value": "4"})
    assert "tom: 2" in transcript(desk, conversation)


def test_marks_outlive_the_account_of_their_author(desk, reviewer, conversation):
    desk.post(panel(conversation), {"action": "note", "text": "a note"})
    reviewer.delete()
    assert Mark.objects.get().author_name == "vera"


def test_reviewed_is_noted_with_its_date_and_can_be_undone(desk, reviewer, conversation):
    desk.post(panel(conversation), {"action": "reviewed", "value": "1"})
    assignment = Assignment.objects.get()
    assert assignment.reviewer == reviewer
    assert assignment.done_at is not None
    assert "✓ Reviewed" in transcript(desk, conversation)
    desk.post(panel(conversation), {"action": "reviewed", "value": "0"})
    assignment.refresh_from_db()
    assert assignment.done_at is None


def test_a_queue_shows_what_is_to_do_and_the_progress(desk, reviewer, user, model):
    for number in range(4):
        conversation = converse(user, model, title=f"talk {number}")
        done = timezone.now() if number == 0 else None
        Assignment.objects.create(
            conversation=conversation, reviewer=reviewer, assigned_by_name="x", done_at=done
        )
    html = desk.get(reverse("admin:chat_conversation_queue")).content.decode()
    assert "1 of 4 reviewed" in html
    assert "talk 0" not in html
    assert html.index("talk 1") < html.index("talk 3")
    assert [(each.total, each.done, each.percent) for each in progress()] == [(4, 1, 25)]


def test_bulk_actions_change_what_was_selected(client_of, staff, user, model):
    chosen = [converse(user, model, title=f"talk {number}") for number in range(3)]
    left = converse(user, model, title="left")
    owner = client_of(staff)
    label = Label.objects.first()

    def act(action, **more):
        return owner.post(
            reverse("admin:chat_conversation_changelist"),
            {"action": action, "_selected_action": [each.pk for each in chosen], **more},
        )

    act("mark_flagged")
    act("mark_flagged")
    act("add_label", label=label.pk)
    act("add_label")
    act("mark_reviewed")
    act("assign", reviewer=staff.pk)
    assert Mark.objects.filter(kind="flag").count() == 3
    assert Mark.objects.filter(kind="label").count() == 3
    assert Assignment.objects.done().count() == 3
    assert not Mark.objects.filter(conversation=left).exists()
    assert act("export_jsonl").status_code == 200


# -- the transcript -------------------------------------------------------------------------------


def test_what_is_hostile_in_a_message_is_inert_everywhere(desk, client_of, staff, user, model):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\u202eevil"
    conversation = converse(user, model, evil, "fine", title="<script>t</script>", system_prompt=evil)
    answer = conversation.leaf
    answer.thinking = evil
    answer.save()
    attempt = answer.generations.get().attempts.get()
    attempt.abandoned_text = attempt.error_detail = attempt.error_code = evil[:50]
    attempt.save()
    Feedback.objects.create(message=answer, user=user, value=-1, comment=evil)
    for action in ("note", "flag"):
        desk.post(panel(conversation), {"action": action, "text": f"{evil}\x00"})
    assert Mark.objects.count() == 2
    pages = [
        transcript(desk, conversation),
        desk.get(reverse("admin:chat_conversation_changelist")).content.decode(),
        desk.get(reverse("admin:chat_feedback_changelist")).content.decode(),
        desk.get(panel(conversation)).content.decode(),
        client_of(staff).get(reverse("admin:chat_accessrecord_changelist")).content.decode(),
    ]
    for html in pages:
        assert "<script>alert" not in html
        assert "<script>t" not in html
        assert "<img src=x" not in html


def test_a_transcript_takes_few_queries(desk, user, model, django_assert_max_num_queries):
    conversation = converse(user, model, *(["question", "answer"] * 25))
    for message in conversation.messages.filter(role=Message.Role.ASSISTANT):
        Feedback.objects.create(message=message, user=user, value=1)
        finish(message, user, model)
        Mark.objects.create(
            kind="note", conversation=conversation, message=message, text="x", author_name="x"
        )
    transcript(desk, conversation)
    # Two of them are the savepoint of the access log, which is the transaction outside of tests.
    with django_assert_max_num_queries(2 + 19):
        transcript(desk, conversation)


def test_a_deep_link_opens_the_branch_of_its_message(desk, user, model):
    conversation = converse(user, model, "first question", "shown answer")
    question = conversation.messages.order_by("pk")[0]
    other = conversation.messages.create(role="assistant", parent=question, text="hidden answer")
    html = transcript(desk, conversation, message=other.pk)
    assert "This branch is not the one that the user sees." in html
    assert html.index("hidden answer") < html.index("side-branch") < html.index("shown answer")
    assert f'data-target="{other.pk}"' in html


def test_a_long_side_branch_is_cut_and_opens_by_a_link(desk, user, model):
    conversation = converse(user, model, "q", "a")
    parent = conversation.messages.order_by("pk")[0]
    for number in range(30):
        parent = conversation.messages.create(
            role="user" if number % 2 else "assistant", parent=parent, text=f"side {number}."
        )
    html = transcript(desk, conversation)
    assert "side 19." in html
    assert "side 20." not in html
    assert "Open this branch with all 30 messages" in html
    assert "side 29." in transcript(desk, conversation, message=parent.pk)


def test_an_answer_in_progress_shows_its_text_so_far_and_grows(desk, user, model):

    conversation = converse(user, model, "q", "")
    run = conversation.leaf.generations.get()
    type(run).objects.filter(pk=run.pk).update(status="running", finished_at=None)

    def write(seq, text):
        payload = events.encode(events.Delta(text)).decode()
        LoggedEvent.objects.create(generation_id=run.pk, seq=seq, payload=payload)

    write(1, "The first ")
    html = transcript(desk, conversation)
    assert "The first" in html
    assert 'data-live="active"' in html
    write(2, "words")
    live = desk.get(reverse("admin:chat_conversation_change", args=[conversation.pk]), {"live": 1})
    assert "The first words" in live.content.decode()
    assert "<html" not in live.content.decode()
    # The update belongs to the opening, which is recorded.
    assert AccessRecord.objects.count() == 1


def test_an_update_without_an_opening_is_recorded(desk, conversation):
    desk.get(reverse("admin:chat_conversation_change", args=[conversation.pk]), {"live": 1})
    assert AccessRecord.objects.get().action == "open"


def test_the_details_show_attempts_errors_and_discarded_text_as_a_difference(desk, conversation):
    attempt = conversation.leaf.generations.get().attempts.get()
    attempt.abandoned_text, attempt.error_code = "A heap was a bush.", "stalled"
    attempt.save()
    html = transcript(desk, conversation)
    assert "<code>stalled</code>" in html
    assert "<del>bush.</del>" in html
    assert "<svg" in html
