"""Where the last restart is in a log that made void what was shown before it."""

import pytest

from chat import events
from chat.event_log.read import last_restart
from chat.models import LoggedEvent
from tests.support.runtime import running_generation

RESTART = events.Restarted("cut")


@pytest.mark.parametrize(
    ("logged", "seq"),
    [
        ([events.Started("fake"), events.Delta("a")], 0),
        ([events.Started("fake"), events.Delta("a"), RESTART, events.Delta("b")], 3),
        ([RESTART, events.Delta("a"), RESTART], 3),
        ([events.Delta("a"), events.Restarted(events.BECAME_REASONING), events.Delta("b")], 0),
        ([events.Delta('{"type":"restarted"')], 0),
    ],
)
def test_the_last_restart(user, model, logged, seq):
    generation = running_generation(user, model)
    for number, event in enumerate(logged, 1):
        LoggedEvent.objects.create(
            generation_id=generation.pk, seq=number, payload=events.encode(event).decode()
        )
    assert last_restart(generation.pk) == seq
