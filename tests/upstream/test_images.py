"""Pictures in answers: every form that servers send them in leads to the same steps, each picture once."""

from base64 import b64decode
from collections import Counter

import pytest

from chat import events, upstream
from chat.fakeprovider import pictures
from chat.upstream.images import IMAGES_MAX, ImageReader, ReceivedImage
from chat.upstream.recovery import Recovery
from chat.upstream.splice import Splice
from chat.upstream.sse import Decoder
from tests.upstream.support import PATIENT, ask, of, site

CAT, DOG = ReceivedImage(data="Y2F0"), ReceivedImage(data="ZG9n")


def images_of(outcome):
    return of(outcome.steps, ReceivedImage)


@pytest.mark.parametrize("unstreamed", ["", "unstreamed "])
@pytest.mark.parametrize("shape", ["images", "twice", "parts", "output", "call", "source", "inline"])
async def test_all_shapes(shape, unstreamed):
    outcome = await ask(f"draw [[{unstreamed}deltas=5 images=2 image_shape={shape}]]")

    assert outcome.error is None
    assert outcome.text == outcome.full_text
    first, second = images_of(outcome)
    assert b64decode(first.data) == pictures.png_for(outcome.full_text, 0)
    assert b64decode(second.data) == pictures.png_for(outcome.full_text, 1)
    assert outcome.finished.reason == "stop"


async def test_a_picture_alone_is_an_answer():
    outcome = await ask("draw [[role_only images=1 no_done]]")

    assert outcome.error is None
    assert len(images_of(outcome)) == 1
    assert outcome.calls == 1


async def test_an_address_is_passed_on_and_not_loaded():
    outcome = await ask("draw [[deltas=2 images=1 image_shape=address]]")

    assert images_of(outcome) == [ReceivedImage(address=pictures.ADDRESS.format(number=0))]


async def test_more_pictures_than_an_answer_may_have_are_left_out():
    outcome = await ask(f"draw [[deltas=2 images={IMAGES_MAX + 3}]]")

    found = images_of(outcome)
    assert len(found) == IMAGES_MAX + 1
    assert [image.is_surplus for image in found] == [False] * IMAGES_MAX + [True]


@pytest.mark.parametrize(
    "value", [7, True, [None], {"type": "image"}, [[["x"]]], {"image_url": {"url": {}}}, "data:,"]
)
def test_what_is_no_picture_is_not_understood(value):
    assert all(not image.data and not image.address for image in ImageReader().feed(value))


async def test_an_answer_that_is_cut_after_a_picture_shows_it_once():
    outcome = await ask("draw [[deltas=5 images=2]][[cut after=6 times=1]]")

    assert outcome.error is None
    assert outcome.calls == 2
    assert not outcome.of(events.Restarted)
    assert outcome.text == outcome.full_text
    assert len(images_of(outcome)) == 2


async def test_another_answer_after_a_cut_has_its_own_pictures():
    outcome = await ask("draw [[vary deltas=5 images=1]][[cut after=6 times=1]]")

    restart = outcome.steps.index(outcome.of(events.Restarted)[0])
    assert len(of(outcome.steps[:restart], ReceivedImage)) == 1
    assert len(of(outcome.steps[restart:], ReceivedImage)) == 1


async def test_a_model_is_not_asked_to_continue_after_a_picture():
    question = "draw [[deltas=20 images=1 images_first]][[cut after=12 times=1]]"
    outcome = await ask(question, continues=True)

    assert outcome.prefills == [None, None]
    assert outcome.text == outcome.full_text
    assert len(images_of(outcome)) == 1


async def test_pictures_that_a_lost_process_left_are_not_sent_again():
    async with site() as place:
        steps = place.steps("fake", question="draw [[role_only images=2]]", images=1)
        found = [step async for step in steps]

    assert len(of(found, ReceivedImage)) == 1


def fed(splice, *steps):
    return [told for step in steps for told in splice.feed(step)]


def finished():
    return upstream.Finished("stop", None, upstream.Target("", "", "fake", timeouts=PATIENT))


def test_pictures_before_the_text_is_known_to_be_the_same_are_held_back():
    splice = Splice("A cat.", Recovery.RESTART, "cut", images_before=1)
    assert fed(splice, CAT, events.Delta("A c")) == []
    assert fed(splice, events.Delta("at. And"), DOG) == [events.Delta(" And"), DOG]


def test_pictures_of_another_text_come_after_the_restart():
    splice = Splice("A cat.", Recovery.RESTART, "cut", images_before=1)
    told = fed(splice, DOG, events.Delta("A dog."), finished())
    assert told == [events.Restarted("cut"), DOG, events.Delta("A dog."), finished()]


def test_what_is_displayed_is_counted_until_it_restarts():
    assert (
        Counter(map(type, fed(Splice("", Recovery.RESTART, "cut", images_before=2), CAT, DOG, CAT)))[
            ReceivedImage
        ]
        == 1
    )


def test_a_long_line_is_joined_once():
    line = b'data: {"choices":[{"index":0,"delta":{"images":["' + b"A" * 20_000_000 + b'"]}}]}'
    decoder = Decoder()
    pieces = (line[start : start + 50_000] for start in range(0, len(line), 50_000))
    assert not any(decoder.feed(piece) for piece in pieces)
    [chunk] = decoder.feed(b"\n\n")
    assert len(chunk.choices[0].delta.images[0]) == 20_000_000
    assert decoder.failure is None
