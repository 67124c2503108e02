"""Pictures that a model returns, as programs get them: in both APIs, streamed or not, and again later."""

import io
import json
from base64 import b64decode

import pytest
from PIL import Image

from chat.fakeprovider import pictures
from tests.support.provider_control import last_body, provider_text

QUESTION = "draw [[deltas=3 images=2]]"
ADDRESS = "draw [[deltas=3 images=1 image_shape=address]]"
BROKEN = "draw [[deltas=3 images=1 image_shape=broken]]"


def asked(text):
    return {"model": "fake", "messages": [{"role": "user", "content": text}]}


def pixels(data):
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def pixels_of(url):
    head, _comma, data = url.partition(",")
    assert head == "data:image/png;base64"
    return pixels(b64decode(data))


@pytest.fixture
def expected(shared_api):
    text = provider_text(shared_api.provider, QUESTION)
    return [pixels(pictures.png_for(text, number)) for number in (0, 1)]


def urls(images):
    return [each["image_url"]["url"] for each in images or ()]


def test_a_completion_has_the_pictures(shared_api, expected):
    message = shared_api.client().chat.completions.create(**asked(QUESTION)).choices[0].message
    assert message.content == provider_text(shared_api.provider, QUESTION)
    assert list(map(pixels_of, urls(message.images))) == expected


def test_a_stream_has_each_picture_once(shared_api, expected):
    chunks = list(shared_api.client().chat.completions.create(**asked(QUESTION), stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    found = [url for delta in deltas for url in urls(getattr(delta, "images", None))]
    assert list(map(pixels_of, found)) == expected
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_picture_alone_is_an_answer(shared_api):
    message = (
        shared_api.client().chat.completions.create(**asked("draw [[role_only images=1]]")).choices[0].message
    )
    assert message.content is None
    assert len(message.images) == 1


def test_an_address_is_passed_on_as_it_is(shared_api):
    message = shared_api.client().chat.completions.create(**asked(ADDRESS)).choices[0].message
    assert urls(message.images) == [pictures.ADDRESS.format(number=0)]


def test_a_broken_picture_is_left_out(shared_api):
    message = shared_api.client().chat.completions.create(**asked(BROKEN)).choices[0].message
    assert message.content
    assert not hasattr(message, "images")


def test_a_response_has_them_as_image_generation_calls(shared_api, expected):
    client = shared_api.client()
    response = client.responses.create(model="fake", input=QUESTION)
    assert [item.type for item in response.output] == ["message", *["image_generation_call"] * 2]
    assert [pixels(b64decode(item.result)) for item in response.output[1:]] == expected
    assert client.responses.retrieve(response.id).output == response.output


def test_a_broken_picture_of_a_response_has_failed(shared_api):
    response = shared_api.client().responses.create(model="fake", input=BROKEN)
    assert [(item.status, getattr(item, "result", None)) for item in response.output[1:]] == [
        ("failed", None)
    ]


def test_a_streamed_response_has_the_events_of_pictures(shared_api, expected):
    stream = list(shared_api.client().responses.create(model="fake", input=QUESTION, stream=True))
    kinds = [event.type for event in stream]
    assert kinds.count("response.image_generation_call.completed") == 2
    done = [event.item for event in stream if event.type == "response.output_item.done"]
    assert [pixels(b64decode(item.result)) for item in done[1:]] == expected
    assert stream[-1].response.output == done
    assert [event.sequence_number for event in stream] == list(range(len(stream)))


def test_the_next_request_may_send_the_answer_back(shared_api):
    client = shared_api.client()
    first = client.responses.create(model="fake", input=QUESTION)
    client.responses.create(model="fake", input="bluer", previous_response_id=first.id)
    chained = last_body(shared_api.provider)["messages"]
    assert "picture" in chained[1]["content"]
    sent = [item.model_dump() for item in first.output]
    client.responses.create(model="fake", input=[*sent, {"role": "user", "content": "bluer"}])
    assert "base64" not in json.dumps(last_body(shared_api.provider))


def test_the_file_can_be_read_by_its_id(shared_api):
    client = shared_api.client()
    first = client.chat.completions.create(**asked(QUESTION))
    number = first.id.removeprefix("chatcmpl-")
    found = shared_api.server.query(
        "from chat.models import Message, MessageAttachment\n"
        f"found = MessageAttachment.objects.filter(message__generations={number})\n"
        "print(found.first().attachment_id.hex)"
    )
    content = client.files.content(f"file-{found.strip()}").read()
    assert content.startswith(b"\x89PNG")


def test_the_wish_for_pictures_is_passed_on(shared_api):
    client = shared_api.client()
    client.chat.completions.create(**asked("hi [[deltas=2]]"), extra_body={"modalities": ["image", "text"]})
    assert last_body(shared_api.provider)["modalities"] == ["image", "text"]
    client.chat.completions.create(**asked("hi [[deltas=2]]"), modalities=["text"])
    assert "modalities" not in last_body(shared_api.provider)
