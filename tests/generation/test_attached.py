"""What a model is sent of attachments: documents as text, pictures as parts, words for what it cannot see."""

import base64
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from chat.generation.attached import PICTURES_MAX, AttachedFile, cut_to, read_files
from chat.generation.prompt import fit, room_for_prompt, tokens_in
from chat.models import Conversation, Message, Model
from chat.models.stored_content import storage
from tests.support.attachments import attach

SEEING = Model(name="eyes", context_tokens=16_000, sees_images=True)
BLIND = Model(name="blind", context_tokens=16_000)
PICTURE = AttachedFile("cat.png", 100, pictures=("data:image/png;base64,AAAA",), is_image=True)
DOCUMENT = AttachedFile("plan.txt", 10, text="The plan is secret.")


def question(text="What is it?", pk=1, tokens=110):
    return Message(pk=pk, role=Message.Role.USER, text=text, attachment_tokens=tokens)


def sent(model, files, *, text="What is it?", **more):
    return fit([question(text)], model, files={1: files}, **more)


def test_a_model_that_sees_gets_pictures_as_parts_after_the_text():
    assert sent(SEEING, [PICTURE, DOCUMENT]).prompt.messages == [
        {
            "role": "user",
            "content": [
                {
                    "type": "text",
                    "text": '<file name="plan.txt">\nThe plan is secret.\n</file>\n\nWhat is it?',
                },
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        }
    ]


def test_a_picture_alone_is_sent_without_an_empty_text():
    assert [part["type"] for part in sent(SEEING, [PICTURE], text="").prompt.messages[0]["content"]] == [
        "image_url"
    ]


def test_a_model_that_does_not_see_gets_plain_text_and_is_told():
    fitted = sent(BLIND, [PICTURE, DOCUMENT])
    content = fitted.prompt.messages[0]["content"]
    assert isinstance(content, str)
    assert "cat.png" in content
    assert "cannot see" in content
    assert "The plan is secret." in content
    assert fitted.file_notes == ["“cat.png” was not sent: blind cannot see pictures."]


def test_documents_are_cut_to_the_context_and_both_sides_are_told():
    long = AttachedFile("book.txt", 40_000, text="word " * 40_000)
    fitted = sent(SEEING, [long])
    assert fitted.tokens <= room_for_prompt(SEEING) * 2  # counted with three bytes a token, not by words
    content = fitted.prompt.messages[0]["content"]
    assert "The rest of this file was left out" in content
    assert content.endswith("What is it?")
    assert fitted.file_notes == ["Only the first 29 % of “book.txt” fit into the context of eyes."]


def test_a_cut_is_shared_by_all_documents():
    files, notes = cut_to(
        [AttachedFile("a", 100, text="a" * 400), AttachedFile("b", 300, text="b" * 1200)], 200, SEEING
    )
    assert [len(file.text.split("\n")[0]) for file in files] == [200, 600]
    assert len(notes) == 2


def test_files_of_earlier_messages_count_when_room_is_short():
    history = [
        question("first", 1, tokens=14_000),
        Message(pk=2, role="assistant", text="ok"),
        question("next", 3, 0),
    ]
    fitted = fit(history, SEEING, files={1: [AttachedFile("book.txt", 14_000, text="word " * 10)]})
    assert fitted.left_out
    assert len(fitted.prompt.messages) == 1
    small = fit([question("first", 1, tokens=14), *history[1:]], SEEING, files={1: [DOCUMENT]})
    assert "The plan is secret." in small.prompt.messages[0]["content"]


def test_a_refused_prompt_can_get_smaller_by_its_files():
    fitted = sent(SEEING, [AttachedFile("book.txt", 9_000, text="word " * 9_000)], room=1_000)
    assert tokens_in(fitted.prompt.messages[0]["content"]) < 3_000


@pytest.mark.django_db(transaction=True)
async def test_files_are_read_with_their_bytes(user, seeing_model):
    started, picture = await _asked(user)
    message = await Message.objects.aget(pk=started.user_message_id)
    files = await read_files([message], 1_000)
    url = files[message.pk][0].pictures[0]
    assert base64.b64decode(url.removeprefix("data:image/png;base64,")) == b"not really a picture"
    storage().delete(picture.content.path)
    lost = (await read_files([message], 1_000))[message.pk]
    assert lost[0].is_lost
    fitted = fit([message], SEEING, files={message.pk: lost})
    assert fitted.file_notes == ["“picture.png” could not be read, and was not sent."]


@pytest.mark.django_db(transaction=True)
async def test_no_more_pictures_are_sent_than_a_provider_takes(user, seeing_model):
    @transaction.atomic
    def ask():
        ids = []
        for turn in range(3):
            files = [attach(user, data=bytes([turn, n])) for n in range(10)]
            started = Conversation.ask(
                user, "and these?", client_id=uuid4().hex, attachments=[f.pk for f in files]
            )
            ids.append(started.user_message_id)
        return list(Message.objects.filter(pk__in=ids).order_by("pk"))

    messages = await sync_to_async(ask)()
    files = await read_files(messages, 100_000)
    assert sum(len(file.pictures) for found in files.values() for file in found) == PICTURES_MAX
    # The newest ones are sent.
    assert not any(file.pictures for file in files[messages[0].pk])


async def _asked(user):
    @transaction.atomic
    def ask():
        picture = attach(user)
        return Conversation.ask(user, "look", client_id=uuid4().hex, attachments=[picture.pk]), picture

    return await sync_to_async(ask)()
