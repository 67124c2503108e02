"""The files of a program's request are back in its messages when a model is called."""

import msgspec
import pytest
from asgiref.sync import sync_to_async

from chat.generation.request_files import with_files
from chat.models.api_request import ApiRequest
from chat.models.stored_content import storage
from tests.support.attachments import attach

pytestmark = pytest.mark.django_db

TEXT = {"type": "text", "text": "See:"}


def picture(reference, **more):
    return {"type": "image_url", "image_url": {"url": f"attachment:{reference}", **more}}


def request_of(parts, **attachments):
    ids = {reference: str(each.pk) for reference, each in attachments.items()}
    return ApiRequest([{"role": "user", "content": [TEXT, *parts]}], attachments=ids)


async def parts_of(request):
    filled, _stored = await with_files(request, ())
    first, *others = filled.messages[0]["content"]
    assert first == TEXT
    return others


async def test_pictures_and_documents_and_other_parts(user):
    image = await sync_to_async(attach)(user, data=b"pixels")
    document = await sync_to_async(attach)(user, 'a "plan".pdf', kind="text", text="Words", data=b"%PDF")
    elsewhere = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    file = {"type": "file", "file": {"file_data": "attachment:b", "filename": "plan.pdf"}}

    parts = await parts_of(request_of([picture("a", detail="low"), file, elsewhere], a=image, b=document))

    assert parts == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cGl4ZWxz", "detail": "low"}},
        {"type": "text", "text": "<file name=\"a 'plan'.pdf\">\nWords\n</file>"},
        elsewhere,
    ]


async def test_a_file_that_is_gone_is_said_to_the_model(user):
    image = await sync_to_async(attach)(user, data=b"pixels")
    await sync_to_async(image.remove_files)()

    (part,) = await parts_of(request_of([picture("a")], a=image))

    assert "no longer stored" in part["text"]


async def test_a_lost_file_of_the_storage_does_not_fail_the_answer(user):
    image = await sync_to_async(attach)(user, data=b"pixels")
    await sync_to_async(storage().delete)(image.content.path)

    (part,) = await parts_of(request_of([picture("a")], a=image))

    assert "nothing that can be read" in part["text"]


async def test_messages_in_slices_are_filled_as_well(user):
    image = await sync_to_async(attach)(user, data=b"pixels")
    request = msgspec.structs.replace(request_of([], a=image), messages=[])
    large = msgspec.json.encode({"role": "user", "content": [picture("a")]})

    _request, stored = await with_files(request, [large[:20], large[20:] + b",", large])

    first, second = msgspec.json.decode(b"[" + b"".join(stored) + b"]")
    assert first == second
    assert first["content"][0]["image_url"]["url"] == "data:image/png;base64,cGl4ZWxz"


async def test_a_request_without_files_is_not_touched():
    request = ApiRequest([{"role": "user", "content": "attachment:a"}])

    assert await with_files(request, (b"x",)) == (request, (b"x",))
