"""Figures of the review desk: the timeline of a generation, differences of texts, agreement of reviewers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from chat.models import Criterion, Mark
from chat.review.difference import difference
from chat.review.reviewers import agreements, kappa_of
from chat.review.timeline import WIDTH, timeline_of
from tests.review.conftest import converse, staff_with

pytestmark = pytest.mark.django_db


# -- agreement ------------------------------------------------------------------------------------


def test_agreement_compares_two_reviewers_on_the_same_items(user, model):
    ann, ben = (staff_with(name, "review_conversation") for name in ("ann", "ben"))
    correct = Criterion.objects.get(name="Correct")
    verdicts = [(1, 1), (1, 1), (0, 0), (1, 0), (1, None)]
    for one, other in verdicts:
        conversation = converse(user, model)
        for author, value in ((ann, one), (ben, other)):
            if value is not None:
                Mark.objects.create(
                    kind="verdict",
                    conversation=conversation,
                    message=conversation.leaf if one == other else None,
                    criterion=correct,
                    value=value,
                    author=author,
                    author_name=author.username,
                )
    [found] = agreements()
    assert (found.criterion, found.first, found.second) == ("Correct", "ann", "ben")
    assert (found.items, found.same, found.percent) == (4, 3, 75)
    assert found.kappa == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ({(1, 1): 20, (1, 0): 5, (0, 1): 10, (0, 0): 15}, 0.4),
        ({(1, 1): 10, (0, 0): 10}, 1.0),
        ({(1, 1): 10}, None),
    ],
)
def test_kappa_is_that_of_the_books(counts, kappa):
    assert kappa_of(counts) == (None if kappa is None else pytest.approx(kappa))


# -- the timeline and the difference --------------------------------------------------------------


def test_a_timeline_stays_in_its_picture_and_tells_itself_in_words(conversation):
    run = conversation.leaf.generations.get()
    start = timezone.now()
    run.created_at, run.started_at = start, start + timedelta(seconds=1)
    run.first_delta_at = start + timedelta(seconds=8)
    run.finished_at = start + timedelta(seconds=10)
    attempt = run.attempts.get()
    attempt.started_at, attempt.first_delta_at = start + timedelta(seconds=4), run.first_delta_at
    attempt.finished_at, attempt.wait_s, attempt.queued_s = run.finished_at, 2.0, 1.0

    picture = timeline_of(run, [attempt])

    assert [bar.kind for bar in picture.bars] == ["queue", "backoff", "queue", "wait", "write"]
    assert [(bar.x, bar.width) for bar in picture.bars] == [
        *((0, 60.0), (60.0, 120.0), (180.0, 60.0), (240.0, 240.0), (480.0, 120.0))
    ]
    assert picture.first_text_x == 480.0
    assert "attempt 1 (completed): waiting 4.00 s" in picture.description
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH + 0.1 for bar in picture.bars)


def test_a_timeline_of_clocks_that_disagree_is_still_drawn(conversation):
    run = conversation.leaf.generations.get()
    attempt = run.attempts.get()
    attempt.started_at = run.created_at - timedelta(hours=1)
    attempt.finished_at = attempt.started_at
    picture = timeline_of(run, [attempt])
    assert all(bar.width > 0 for bar in picture.bars)


def test_a_difference_is_both_texts_in_order():
    parts = difference("one two three", "one 2 three four")
    assert "".join(part.text for part in parts if part.kind != "added") == "one two three"
    assert "".join(part.text for part in parts if part.kind != "removed") == "one 2 three four"


def test_a_difference_of_long_texts_is_bounded():
    parts = difference("same " * 500 + "x " * 5_000, "same " * 500 + "y " * 5_000)
    assert parts[0].kind == "same"
    assert parts[0].text.startswith("same same")
    assert sum(len(part.text) for part in parts) <= 20_001
