"""A batch in a real server that is killed in its midst: each row is answered once."""

import json

from tests.support.programs import until

SUBMIT = """
from chat.models import Endpoint
Endpoint.objects.update(slots=4)
"""
STATE = """
import json
from chat.models import Batch, Generation
batch = Batch.objects.get()
rows = list(batch.lines.order_by("number").values_list("state", "error_code"))
print(json.dumps([batch.status, rows, Generation.objects.filter(source="batch").count()]))
"""


def test_a_batch_survives_a_killed_server(serve, provider):
    server = serve({**provider.env_for_server, "OPENAI_MODEL": "fake"})
    server.sign_in()
    server.shell(SUBMIT)
    prompts = "\n".join(f"question {n} [[deltas=5 rate=10]]" for n in range(12))
    id = server.manage("batch", "submit", "--user", "ada", stdin=prompts + "\nbad [[status=400]]").strip()
    until(lambda: json.loads(server.manage("batch", "status", id, "--json"))["completed"] > 1, 30)
    server.kill9()
    server.start()
    until(lambda: json.loads(server.shell(STATE))[0] == "completed", 40)
    _status, rows, generations = json.loads(server.shell(STATE))
    assert rows == [["completed", ""]] * 12 + [["failed", "rejected"]]
    assert generations == 13
