"""Three hundred bulk answers and thirty of people's on four slots, read from the attempts' rows."""

import json

from tests.support.programs import until
from tests.support.socket_client import ask

BULK, PEOPLE, SLOTS = 300, 30, 4
# The first delta comes at once, the last after this time.
CALL_S = 0.8
MAKE_BULK = f"""
from django.contrib.auth import get_user_model
from django.db import transaction
from chat.models import Conversation, Endpoint, Generation, Message, Model
Endpoint.objects.update(slots={SLOTS})
user = get_user_model().objects.create_user("bulk")
model = Model.objects.offered().first()
with transaction.atomic():
    for n in range({BULK}):
        conversation = Conversation.objects.create(user=user)
        text = f"bulk {{n}} [[deltas=9 rate=10]]"
        asked = Message.objects.create(conversation=conversation, role="user", text=text)
        answer = Message.objects.create(conversation=conversation, role="assistant", parent=asked)
        Generation.objects.create(message=answer, user=user, client_id=f"b{{n}}", source="batch", model=model)
"""
READ = """
import json
from chat.models import Attempt
# The row of a first call is there before the call is.
made = Attempt.objects.exclude(first_delta_at=None)
rows = made.select_related("generation").order_by("started_at")
print(json.dumps([
    [row.generation.source == "batch", row.started_at.timestamp() - row.queued_s, row.started_at.timestamp()]
    for row in rows
]))
"""
CLAIMED = "from chat.models import Generation; print(Generation.objects.exclude(owner='').count())"


ANSWERED = """
from chat.models import Generation
print(Generation.objects.exclude(source="batch").filter(status="completed").count())
"""


def test_people_pass_bulk_and_bulk_keeps_moving(serve, provider):
    server = serve(provider.env_for_server | {"CHATSITE_RUNNING_PER_USER": "1000"})
    session = server.sign_in()
    server.query(MAKE_BULK)
    with session.socket() as socket:
        until(lambda: int(server.query(CLAIMED)) > BULK / 2, "the bulk to wait in line", deadline_s=60)
        for n in range(PEOPLE):
            ask(socket, f"person {n} [[deltas=9 rate=10]]")
        until(lambda: int(server.query(ANSWERED)) == PEOPLE, "the people's answers", deadline_s=60)
    attempts = json.loads(server.query(READ))
    people = [row for row in attempts if not row[0]]
    bulk = [row for row in attempts if row[0]]
    assert len(people) == PEOPLE
    for _is_bulk, in_line_since, begun_at in people:
        # Bulk that began while this one waited had the one slot that is its own.
        passed_by = [row for row in bulk if in_line_since < row[2] < begun_at]
        assert len(passed_by) <= (begun_at - in_line_since) / CALL_S + 1
    first, last = min(row[1] for row in people), max(row[2] for row in people)
    assert sum(first < row[2] < last for row in bulk) >= 2
