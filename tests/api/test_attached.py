"""Files in requests of programs: stored once as attachments, sent to the model, and named by their id."""

import io
import json
from base64 import b64decode, b64encode

import openai
import pytest
from PIL import Image

from tests.attachments.extraction import samples
from tests.support.provider_control import last_body

STATE = """
import json
from chat.models import Attachment, Generation, RequestSlice
print(json.dumps({
    "names": sorted(Attachment.objects.values_list("name", flat=True)),
    "used": Attachment.objects.filter(unused_since=None).count(),
    "rows": [json.dumps(each) for each in Generation.objects.values_list("request", flat=True)],
    "slices": RequestSlice.objects.count(),
}))
"""
PICTURE = samples.picture()


def data_url(data, media_type="image/png"):
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def user(*parts):
    return [{"role": "user", "content": [{"type": "text", "text": "See: [[deltas=2]]"}, *parts]}]


def image(data=PICTURE):
    return {"type": "image_url", "image_url": {"url": data_url(data), "detail": "low"}}


def sent_parts(api, place=-1):
    """Return the parts of a message that the model was sent last."""
    return last_body(api.provider)["messages"][place]["content"]


def test_files_of_completions_are_stored_once_and_reach_the_model(api):
    api = api()
    client = api.client()
    document = {
        "type": "file",
        "file": {"filename": "plan.pdf", "file_data": data_url(samples.pdf(), "application/pdf")},
    }
    large = {"type": "text", "text": "word " * 60_000}
    client.chat.completions.create(model="fake", messages=user(image(), document))
    _text, picture, text = sent_parts(api)
    client.chat.completions.create(model="fake", messages=user(image(), large))

    state = json.loads(api.server.query(STATE))
    assert (state["names"], state["used"]) == (["picture", "plan.pdf"], 2)
    assert not any("base64" in row for row in state["rows"])
    assert state["slices"] > 0
    assert sent_parts(api)[1] == picture
    assert picture["image_url"]["detail"] == "low"
    assert b64decode(picture["image_url"]["url"].partition(",")[2]).startswith(b"\x89PNG")
    assert '<file name="plan.pdf">' in text["text"]
    assert "Words of a PDF" in text["text"]


def test_files_of_large_bodies_go_through_the_child(api):
    api = api()
    big = io.BytesIO()
    Image.effect_noise((900, 700), 90).save(big, "PNG")
    assert len(big.getvalue()) > 300_000

    api.client().chat.completions.create(model="fake", messages=user(image(big.getvalue())))

    state = json.loads(api.server.query(STATE))
    assert (state["names"], state["used"]) == (["picture"], 1)
    url = sent_parts(api)[1]["image_url"]["url"]
    sent = Image.open(io.BytesIO(b64decode(url.partition(",")[2])))
    assert sent.size == (900, 700)


def test_what_is_no_file_that_can_be_read_is_refused_and_leaves_nothing(api):
    api = api()
    client = api.client()
    broken = {"type": "file", "file": {"filename": "a.png", "file_data": data_url(PICTURE[:50])}}
    for part, words in (
        (broken, "damaged"),
        ({"type": "image_url", "image_url": {"url": "ftp://example.org/a.png"}}, "fetches no addresses"),
        ({"type": "file", "file": {"file_id": "file-" + "0" * 32}}, "There is no file"),
    ):
        with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=words):
            client.chat.completions.create(model="fake", messages=user(part))
    large = {"type": "text", "text": "word " * 60_000}
    with pytest.raises(openai.BadRequestError, match="damaged"):
        client.chat.completions.create(model="fake", messages=user(broken, large))
    state = json.loads(api.server.query(STATE))
    assert (state["names"], state["rows"], state["slices"]) == ([], [], 0)


def test_stored_files_are_used_by_their_id_and_responses_name_theirs(api):
    api = api()
    client = api.client()
    stored = client.files.create(file=("notes.txt", b"Words of a note"), purpose="user_data")
    assert stored.expires_at is not None
    parts = [
        {"type": "input_text", "text": "See: [[deltas=2]]"},
        {"type": "input_image", "image_url": data_url(PICTURE), "detail": "auto"},
        {"type": "input_file", "file_id": stored.id},
    ]

    first = client.responses.create(model="fake", input=[{"role": "user", "content": parts}])
    sent = sent_parts(api)
    client.responses.create(model="fake", input="And then? [[deltas=2]]", previous_response_id=first.id)

    assert sent_parts(api, 0) == sent
    assert sent[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert "Words of a note" in sent[2]["text"]
    (item,) = client.responses.input_items.list(first.id).data
    assert item.content[2].file_id == stored.id
    assert item.content[1].image_url is None
    assert client.files.content(item.content[1].file_id).read().startswith(b"\x89PNG")
    assert {each.id for each in client.files.list(purpose="user_data").data} >= {stored.id}
    assert client.files.retrieve(stored.id).expires_at is None
    with pytest.raises(openai.ConflictError, match="Messages have this file"):
        client.files.delete(stored.id)


def test_files_of_others_do_not_exist(api):
    api = api()
    stored = api.client().files.create(file=("notes.txt", b"Words"), purpose="user_data")
    api.server.sign_in("eve")
    other = api.client(api_key=api.new_key("eve"))

    for use in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            use(stored.id)
    part = {"type": "file", "file": {"file_id": stored.id}}
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(model="fake", messages=user(part))
    api.client().files.delete(stored.id)
    with pytest.raises(openai.NotFoundError):
        api.client().files.retrieve(stored.id)
