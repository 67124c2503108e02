"""Pictures of answers: each is stored before it is shown, once, and a bad one costs only itself."""

from io import BytesIO

import pytest
from asgiref.sync import sync_to_async
from PIL import Image

from chat import events
from chat.attachments.files import delete_loose_files
from chat.event_log.read import replay, snapshot_after
from chat.fakeprovider import pictures
from chat.models import Attachment, Conversation, LooseFile, Message
from chat.models.stored_content import LONG_AGO
from chat.transcript.messages import message_view
from tests.generation.support import logged, orphan
from tests.support.attachments import attach, stored_files

pytestmark = pytest.mark.django_db

in_thread = sync_to_async


@pytest.fixture(autouse=True)
def _own_storage(settings, tmp_path):
    settings.STORAGES = settings.STORAGES | {
        "attachments": settings.STORAGES["attachments"] | {"OPTIONS": {"location": tmp_path / "attachments"}}
    }


async def files_of(answer):
    message = await Message.objects.aget(pk=answer.message_id)
    found = await in_thread(Attachment.by_message)([message], with_text=True)
    return found.get(answer.message_id, [])


async def pixels_of(attachment):
    data = await in_thread(attachment.content.read)()
    return Image.open(BytesIO(data)).convert("RGB").tobytes()


def pixels(text, number):
    return Image.open(BytesIO(pictures.png_for(text, number))).convert("RGB").tobytes()


@pytest.mark.parametrize("shape", ["images", "call"])
async def test_pictures_are_stored_with_the_answer(living, user, shape):
    async with living() as life:
        done = await life.answer(f"draw [[deltas=5 images=2 image_shape={shape}]]")
    assert (done.status, done.calls) == ("completed", 1)
    first, second = await files_of(done)
    assert [await pixels_of(first), await pixels_of(second)] == [pixels(done.message.text, n) for n in (0, 1)]
    assert (first.name, first.user_id, first.unused_since) == ("picture-1.png", user.pk, None)
    told = await logged(done.pk, events.Image)
    assert [each.attachment for each in told] == [str(first.pk), str(second.pk)]
    assert (told[0].width, told[0].height, told[0].problem) == (pictures.SIDE, pictures.SIDE, "")
    shown = await in_thread(lambda: message_view(user, done.message_id).pictures)()
    assert [each.attachment for each in shown] == [str(first.pk), str(second.pk)]
    snapshot, _exists = await in_thread(snapshot_after)(done.pk, 0)
    assert events.decode(snapshot.payload).images == told


async def test_a_picture_without_a_word_is_an_answer(living):
    async with living() as life:
        done = await life.answer("draw [[role_only images=1]]")
    assert (done.status, done.message.text, len(await files_of(done))) == ("completed", "", 1)


async def test_an_address_is_said_and_not_loaded(living):
    async with living() as life:
        done = await life.answer("draw [[deltas=2 images=1 image_shape=address]]")
    (file,) = await files_of(done)
    assert (file.content, file.text, file.size_bytes) == (None, pictures.ADDRESS.format(number=0), 0)
    (told,) = await logged(done.pk, events.Image)
    assert "does not load" in told.problem
    assert told.address == file.text


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ("broken", "damaged"),
        ("garbage", "damaged"),
        ("bomb", "too many pixels"),
        ("svg", "no format of pictures"),
    ],
)
async def test_a_harmful_picture_is_said_and_the_answer_is_complete(living, shape, why):
    async with living() as life:
        done = await life.answer(f"draw [[deltas=2 images=1 image_shape={shape}]]")
    (file,) = await files_of(done)
    assert done.status == "completed"
    assert done.message.text
    assert file.content is None
    assert why in file.notes[0]
    assert await in_thread(stored_files)() == set()


async def test_a_full_quota_leaves_the_text_and_says_why_there_is_no_picture(living, user, settings):
    settings.ATTACHMENT_QUOTA_BYTES = 25
    await in_thread(attach)(user)
    async with living() as life:
        done = await life.answer("draw [[deltas=2 images=1]]")
    (file,) = await files_of(done)
    assert (done.status, file.content) == ("completed", None)
    assert "Your files would take more than" in file.notes[0]


async def test_a_takeover_keeps_what_arrived_and_adds_what_is_missing(living, user):
    async with living() as life:
        question = "orphan [[deltas=5 images=2]]"
        kept = await in_thread(attach)(user, "picture-1.png")
        text = life.provider.text_for(question)
        image = events.Image(str(kept.pk), kept.name)
        accepted = await orphan(life, events.Delta(text), image, question=question)
        await life.run(accepted.generation_id, from_owner="dead")
    done = await life.row(accepted)
    assert (done.status, done.message.text) == ("completed", text)
    assert not await logged(done.pk, events.Restarted)
    files = await files_of(done)
    assert [file.name for file in files] == ["picture-1.png", "picture-2.png"]
    assert files[0].pk == kept.pk
    assert [each.attachment for each in (await in_thread(replay)(done.pk)).images] == [
        str(file.pk) for file in files
    ]


async def test_an_orphan_that_was_stopped_keeps_its_picture(living, user):
    async with living() as life:
        kept = await in_thread(attach)(user, "picture-1.png")
        accepted = await orphan(life, events.Image(str(kept.pk), kept.name))
        await life.stop(accepted.generation_id)
        await life.run(accepted.generation_id, from_owner="dead")
    done = await life.row(accepted)
    assert (done.status, [file.pk for file in await files_of(done)]) == ("stopped", [kept.pk])


async def test_pictures_of_a_discarded_answer_are_deleted(living):
    async with living() as life:
        done = await life.answer("draw [[vary deltas=5 images=1]][[cut after=6 times=1]]")
        assert len(await logged(done.pk, events.Restarted)) == 1
        old, new = await logged(done.pk, events.Image)
        assert [str(file.pk) for file in await files_of(done)] == [new.attachment]
        await in_thread(Attachment.delete_unused)(10)
        await LooseFile.objects.aupdate(since=LONG_AGO)
        await delete_loose_files(life.writer)
    assert not await Attachment.objects.filter(pk=old.attachment).aexists()
    assert len(await in_thread(stored_files)()) == 1


async def test_an_interrupted_answer_keeps_its_picture(living, settings):
    settings.RECOVERIES_PER_GENERATION = 0
    async with living() as life:
        done = await life.answer("draw [[role_only images=1 cut after=1]]")
    assert done.status == "interrupted"
    assert len(await files_of(done)) == 1


async def test_erasing_the_conversation_deletes_the_pictures(living):
    async with living() as life:
        done = await life.answer("draw [[deltas=2 images=1]]")
        await Conversation.objects.filter(pk=done.message.conversation_id).adelete()
        await in_thread(Attachment.delete_unused)(10)
        await LooseFile.objects.aupdate(since=LONG_AGO)
        await delete_loose_files(life.writer)
    assert await in_thread(stored_files)() == set()


@pytest.mark.parametrize("sees", [True, False])
async def test_the_next_question_takes_the_pictures_of_the_answer_along(living, sees):
    async with living(sees_images=sees) as life:
        first = await life.answer("draw [[deltas=2 images=1]]")
        assert len(await files_of(first)) == 1
        second = await life.ask(
            "make it blue", conversation_id=first.message.conversation_id, parent_id=first.message_id
        )
        await life.run(second.generation_id)
        _question, answer, question = life.provider.requests[-1].body["messages"]
    assert answer["role"] == "assistant"
    assert answer["content"].endswith('[You answered with the picture "picture-1.png".]')
    if not sees:
        assert question["content"] == "make it blue"
        return
    assert [part["type"] for part in question["content"]] == ["text", "text", "image_url"]
    assert question["content"][0]["text"] == "make it blue"
    assert "picture-1.png" in question["content"][1]["text"]
    assert question["content"][2]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("makes", [True, False])
async def test_a_model_that_makes_pictures_is_asked_for_them(living, makes):
    async with living(makes_images=makes) as life:
        await life.answer("draw [[deltas=2]]")
        body = life.provider.requests[-1].body
    assert body.get("modalities") == (["image", "text"] if makes else None)


async def test_an_endpoint_that_refuses_the_wish_for_pictures_is_asked_without(living):
    async with living(makes_images=True) as life:
        done = await life.answer("draw [[deltas=2 refuse=modalities]]")
        assert "modalities" not in life.provider.requests[-1].body
    assert (done.status, done.calls) == ("completed", 2)
