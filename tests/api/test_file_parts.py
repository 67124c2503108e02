"""Files in messages: what is taken out, what stays, and what is refused in words."""

import copy
from base64 import b64encode

import pytest

from chat.api.file_parts import FILES_MAX, check_inline, take_files
from chat.api.invalid_body import InvalidBody

PNG = "data:image/png;base64," + b64encode(b"picture").decode()


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def image(url=PNG, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(data=PNG, **more):
    return {"type": "file", "file": {"file_data": data, **more}}


def refusal_of(*parts):
    with pytest.raises(InvalidBody) as caught:
        take_files(user(*parts), "messages")
    return caught.value


def test_a_file_becomes_a_reference_that_depends_on_name_and_content_only():
    messages = user({"type": "text", "text": "See:"}, image(detail="low"), file(filename="a.pdf"))
    again = copy.deepcopy(messages)

    taken, same = take_files(messages, "messages"), take_files(again, "messages")

    text, picture, document = messages[0]["content"]
    assert text == {"type": "text", "text": "See:"}
    assert [each.data for each in taken.files] == [b"picture", b"picture"]
    assert picture["image_url"] == {"url": f"attachment:{taken.files[0].reference}", "detail": "low"}
    assert document["file"] == {
        "file_data": f"attachment:{taken.files[1].reference}",
        "filename": "a.pdf",
    }
    assert [(each.name, each.media_type) for each in taken.files] == [
        ("picture", "image/png"),
        ("a.pdf", "image/png"),
    ]
    assert (messages, taken) == (again, same)


def test_one_picture_in_many_messages_is_taken_once():
    assert len(take_files(user(image(), image()) + user(image()), "messages").files) == 1


def test_messages_without_files_stay_as_they_are():
    messages = [{"role": "user", "content": PNG}, *user({"type": "text", "text": PNG})]
    before = copy.deepcopy(messages)

    assert take_files(messages, "messages").files == []
    assert messages == before


def test_an_address_as_text_and_bare_base64_and_percent_encoding_are_understood():
    messages = user(
        {"type": "image_url", "image_url": PNG}, file("cGljdHVyZQ=="), file("data:text/plain,a%20b")
    )

    assert [each.data for each in take_files(messages, "messages").files] == [b"picture", b"picture", b"a b"]


def test_stored_files_are_named_by_their_id():
    messages = user({"type": "file", "file": {"file_id": "file-1"}})

    assert take_files(messages, "messages").ids == ["file-1"]
    assert messages[0]["content"][0]["file"] == {"file_data": "attachment:file-1"}


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a.png", "httpx://example.org", "file:///etc/passwd", "attachment:x", "//x/y"]
)
def test_an_address_is_refused_and_never_fetched(url):
    refused = refusal_of(image(url))

    assert (refused.code, refused.param) == ("unsupported_parameter", "messages[0].content[0].image_url.url")
    assert "fetches no addresses" in refused.message
    if "://" in url:
        assert refusal_of(file(url)).code == "unsupported_parameter"


@pytest.mark.parametrize("url", ["https://example.org/a.png", "HTTP://example.org/b.png"])
def test_a_picture_of_the_web_goes_on_to_the_provider_as_it_is(url):
    messages = user(image(url, detail="low"), {"type": "image_url", "image_url": url})
    taken = take_files(messages, "messages")
    assert (taken.files, taken.ids) == ([], [])
    assert [part["image_url"]["url"] for part in messages[0]["content"]] == [url, url]
    check_inline(user(image(url)), "messages")
    assert refusal_of(file(url)).code == "unsupported_parameter"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url"},
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": {"url": 3}},
        {"type": "file", "file": []},
        {"type": "file", "file": {"file_id": 3}},
        {"type": "file", "file": {"file_id": "x" * 81}},
        image("data:image/png;base64"),
        image("data:image/png;base64,"),
        image("data:image/png;base64,A"),
    ],
)
def test_nonsense_is_refused(part):
    assert refusal_of(part).code == "invalid_value"


def test_the_number_of_files_is_limited():
    many = [image(f"data:image/png,{number}") for number in range(FILES_MAX + 1)]

    assert refusal_of(*many).code == "too_many_files"


def test_lines_of_batches_have_their_files_in_them():
    messages = user(image(), file())
    check_inline(messages, "messages")
    assert messages == user(image(), file())
    for part in (image("ftp://example.org"), {"type": "file", "file": {"file_id": "file-1"}}, file("AAAA")):
        with pytest.raises(InvalidBody) as caught:
            check_inline(user(part), "messages")
        assert caught.value.code == "unsupported_parameter"
