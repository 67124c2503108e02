"""A picture that was on a screen survives the death of its server, once and as the same file."""

import json

from tests.support.serving import stored
from tests.support.socket_client import ask, follow, next_frame

PICTURES = """
import json
from chat.models import Attachment, MessageAttachment
used = [str(each.attachment_id) for each in MessageAttachment.objects.order_by("position")]
print(json.dumps({"used": used, "all": Attachment.objects.count()}))
"""


def images_until(socket, generation, kind):
    """Return the pictures that arrive until an event of this kind."""
    found = []
    while True:
        frame = next_frame(socket, lambda frame: frame.get("generation") == generation and "seq" in frame)
        if frame["type"] == "image":
            found.append(frame["attachment"])
        if frame["type"] == kind:
            return found


def test_a_shown_picture_survives_a_kill_and_is_there_once(serve, provider):
    server = serve(provider.env_for_server)
    session = server.sign_in()
    with session.socket() as socket:
        accepted = ask(socket, "draw [[deltas=10 images=2]] [[hold=gate after=11 on=1]]")
        (shown,) = images_until(socket, accepted["generation"], "image")
        assert session.get(f"/attachments/{shown}/").status == 200
        server.kill9()
    server.restart()
    with session.socket() as socket:
        follow(socket, accepted["generation"])
        again = images_until(socket, accepted["generation"], "completed")
    state = json.loads(server.query(PICTURES))
    assert again == state["used"]
    assert (again[0], len(again), state["all"]) == (shown, 2, 2)
    assert stored(server, accepted["generation"])[0] == "completed"
