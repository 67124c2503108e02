"""The verbs of a conversation: the tree of messages, refusals, and repeats."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from chat.errors import RequestRefused
from chat.event_log.writer import ThreadWriter
from chat.models import Conversation, Generation, Message
from chat.models.api_request import ApiRequest
from chat.models.ids import uuid7
from chat.models.title import TITLE_MAX_CHARS, title_from

pytestmark = pytest.mark.django_db

_ids = (f"id{n}" for n in count())


def ask(user, text="hello", **more):
    return Conversation.ask(user, text, client_id=more.pop("client_id", next(_ids)), **more)


def finish(started, text="an answer", status="completed", **fields):
    Message.objects.filter(pk=started.message_id).update(text=text)
    Generation.objects.filter(pk=started.generation_id).update(
        status=status, finished_at=timezone.now(), **fields
    )


def conversation_of(started):
    return Conversation.objects.get(pk=started.conversation_id)


def branch(started):
    conversation = conversation_of(started)
    return [message.text for message in conversation.path(limit=100)]


def refusal(operation):
    with pytest.raises(RequestRefused) as caught:
        operation()
    return caught.value.code


def test_a_message_is_stored_with_an_empty_answer_and_a_queued_generation(user, model):
    started = ask(user, "What is a tree?")
    user_message = Message.objects.get(pk=started.user_message_id)
    answer = Message.objects.get(pk=started.message_id)
    generation = Generation.objects.get(pk=started.generation_id)
    assert (user_message.role, user_message.text, user_message.parent) == ("user", "What is a tree?", None)
    assert (answer.role, answer.text, answer.parent) == ("assistant", "", user_message)
    assert (generation.status, generation.owner, generation.model) == ("queued", "", model)
    assert conversation_of(started).title == "What is a tree?"


def test_the_next_message_follows_the_shown_branch(user, model):
    first = ask(user, "one")
    finish(first)
    second = ask(user, "two", conversation_id=first.conversation_id)
    finish(second, "another")
    assert branch(first) == ["one", "an answer", "two", "another"]


def test_an_edit_is_a_sibling_and_the_old_version_can_be_shown_again(user, model):
    first = ask(user, "one")
    finish(first, "1")
    second = ask(user, "two", conversation_id=first.conversation_id)
    finish(second, "2")
    edited = ask(
        user, "TWO", conversation_id=first.conversation_id, parent_id=first.message_id, is_at_leaf=False
    )
    finish(edited, "II")
    assert branch(first) == ["one", "1", "TWO", "II"]

    conversation = conversation_of(first)
    conversation.select(Message.objects.get(pk=second.user_message_id))

    assert branch(first) == ["one", "1", "two", "2"]
    siblings = Message.siblings(conversation.path(limit=10))
    assert siblings[second.user_message_id] == [second.user_message_id, edited.user_message_id]


def test_a_first_message_can_be_edited_too(user, model):
    first = ask(user, "one")
    finish(first)
    edited = ask(user, "ONE", conversation_id=first.conversation_id, parent_id=None, is_at_leaf=False)
    roots = Message.siblings([Message.objects.get(pk=first.user_message_id)])
    assert roots[first.user_message_id] == [first.user_message_id, edited.user_message_id]


def test_a_regenerated_answer_is_a_sibling_of_the_first(user, model):
    first = ask(user)
    finish(first)
    again = Conversation.regenerate(user, first.user_message_id, client_id="again")
    assert again.message_id != first.message_id
    assert Message.objects.get(pk=again.message_id).parent_id == first.user_message_id
    assert conversation_of(first).leaf_id == again.message_id


def test_only_an_answer_that_ended_early_can_be_continued(user, model):
    first = ask(user)
    finish(first, finish_reason="stop")
    resume = partial(Conversation.resume, user, first.message_id, client_id="more")
    assert refusal(resume) == "bad_parent"
    finish(first, "half", finish_reason="length")
    more = resume()
    assert more.message_id == first.message_id
    assert Generation.objects.get(pk=more.generation_id).prefix == "half"


@pytest.mark.parametrize("status", ["stopped", "interrupted"])
def test_a_stopped_or_interrupted_answer_can_be_continued(user, model, status):
    first = ask(user)
    finish(first, "half", status=status)
    assert Conversation.resume(user, first.message_id, client_id="more").message_id == first.message_id


def test_a_repeat_with_the_same_client_id_returns_the_first_generation(user, other_user, model):
    first = ask(user, "x", client_id="same")
    again = ask(user, "x", client_id="same")
    assert again.generation_id == first.generation_id
    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert refusal(lambda: ask(user, "y", client_id="same")) == "conflict"
    assert ask(other_user, "x", client_id="same").generation_id != first.generation_id


def test_a_repeat_is_not_refused_when_a_limit_has_been_reached_since(user, model, settings):
    settings.RUNNING_PER_USER = 1
    first = ask(user, "x", client_id="same")
    assert ask(user, "x", client_id="same").generation_id == first.generation_id
    assert refusal(lambda: ask(user, "y")) == "too_many_running"


def test_a_text_of_exactly_the_limit_is_accepted_and_a_longer_one_is_not(user, model, settings):
    settings.MESSAGE_MAX_CHARS = 100
    assert refusal(lambda: ask(user, "x" * 101)) == "too_long"
    ask(user, "x" * 100)


def test_a_refused_message_stores_nothing(user, model, settings):
    settings.ASKS_PER_MINUTE = 1
    first = ask(user)
    finish(first)
    before = Message.objects.count()
    assert refusal(lambda: ask(user)) == "too_many_asks"
    assert Message.objects.count() == before
    assert Conversation.objects.count() == 1


@pytest.mark.parametrize("conversation_id", [uuid4(), "not a uuid", "", 7])
def test_a_conversation_that_does_not_exist_is_not_found(user, model, conversation_id):
    assert refusal(lambda: Conversation.get_for(user, conversation_id)) == "not_found"


def test_a_conversation_of_another_user_is_not_found(user, other_user, model):
    foreign = ask(other_user)
    assert refusal(lambda: Conversation.get_for(user, foreign.conversation_id)) == "not_found"
    assert refusal(lambda: Message.get_for(user, foreign.message_id)) == "not_found"
    assert refusal(lambda: ask(user, conversation_id=foreign.conversation_id)) == "not_found"


def test_a_deleted_conversation_is_not_found_until_it_is_restored(user, model):
    started = ask(user)
    conversation = conversation_of(started)
    assert conversation.delete_softly() == [started.generation_id]
    assert Generation.objects.get(pk=started.generation_id).stop_requested_at
    assert refusal(lambda: Conversation.get_for(user, conversation.pk)) == "not_found"
    conversation.restore()
    assert Conversation.get_for(user, conversation.pk) == conversation


def test_a_long_branch_is_read_from_its_end_in_pages(user, model):
    started = grow(user, 300)
    conversation = conversation_of(started)
    newest = conversation.path(limit=50)
    older = conversation.path(limit=50, before=newest[0].pk)
    assert [message.text for message in newest] == [f"m{n}" for n in range(250, 300)]
    assert [message.text for message in older] == [f"m{n}" for n in range(200, 250)]
    assert conversation.path(limit=50, before=conversation.path(limit=1000)[0].pk) == []


def test_a_branch_is_read_past_many_messages_of_other_branches(user, model):
    started = grow(user, 10)
    conversation = conversation_of(started)
    last = conversation.leaf
    for n in range(200):
        conversation.messages.create(role="assistant", parent=last.parent, text=f"other {n}")
    end = conversation.messages.create(role="user", parent=last, text="end")
    conversation.leaf = end
    conversation.save()
    assert [message.text for message in conversation.path(limit=50)] == [*[f"m{n}" for n in range(10)], "end"]


def test_a_page_of_a_long_conversation_takes_few_queries(user, model, django_assert_max_num_queries):
    conversation = conversation_of(grow(user, 300))
    with django_assert_max_num_queries(3):
        Message.siblings(conversation.path(limit=50))


def test_reading_for_a_prompt_is_bounded_and_the_rest_is_counted(user, model):
    conversation = conversation_of(grow(user, 100))
    history, unread = Message.recent(conversation, conversation.leaf_id, max_chars=30)
    assert history[-1].text == "m99"
    assert sum(len(message.text) for message in history) <= 30
    assert unread + len(history) == 100


def grow(user, messages):
    """Create a conversation whose branch has that many messages: m0, m1, …"""
    conversation = Conversation.objects.create(user=user)
    parent = None
    for n in range(messages):
        role = Message.Role.ASSISTANT if n % 2 else Message.Role.USER
        parent = conversation.messages.create(role=role, parent=parent, text=f"m{n}")
    conversation.leaf = parent
    conversation.save()

    class Made:
        conversation_id = conversation.pk

    return Made


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello there", "Hello there"),
        ("  \n\n  # A heading\nand more", "A heading"),
        ("word " * 40, "word " * 14 + "word…"),
        ("x" * 200, "x" * (TITLE_MAX_CHARS - 1) + "…"),
        ("***", "New conversation"),
        ("你好", "你好"),
        ("**Bold**, *it* and `code`", "Bold, it and code"),
        ("> ## **[the docs](https://x.example/)**", "the docs"),
        ("这是**重要**的", "这是重要的"),
        ("2*3*4, f(*args, **kwargs), __init__", "2*3*4, f(*args, **kwargs), __init__"),
        ("a ** b ** c, **open", "a ** b ** c, **open"),
    ],
)
def test_a_title_is_the_first_line_as_plain_text_cut_at_a_word(text, title):
    assert title_from(text) == title
    assert len(title_from(text)) <= TITLE_MAX_CHARS


def test_ids_are_time_ordered_version_7():
    ids = [uuid7() for _n in range(3)]
    assert {each.version for each in ids} == {7}
    assert ids[0].bytes[:6] <= ids[-1].bytes[:6]


@pytest.mark.django_db(transaction=True)
def test_the_same_message_from_many_threads_is_stored_once(user, model):
    writer = ThreadWriter()
    try:
        with ThreadPoolExecutor(8) as threads:
            operation = partial(ask, user, "x", client_id="same")
            results = list(threads.map(lambda _n: writer.run(operation, user_id=user.pk), range(8)))
    finally:
        writer.close()
        connection.close()
    assert len({started.generation_id for started in results}) == 1
    assert Message.objects.count() == 2


def test_a_conversation_keeps_the_settings_of_its_first_message(user, model):
    first = ask(user, system_prompt=" Be brief.\r\nBe\0 kind. ", temperature=0)
    conversation = conversation_of(first)
    assert (conversation.system_prompt, conversation.temperature) == ("Be brief.\nBe kind.", 0)
    finish(first)
    ask(user, conversation_id=conversation.pk, system_prompt="Be long.", temperature=2)
    assert conversation_of(first).system_prompt == "Be brief.\nBe kind."
    assert conversation_of(first).temperature == 0


@pytest.mark.parametrize(
    "settings_", [{"system_prompt": "x" * 20_001}, {"temperature": 2.1}, {"temperature": float("nan")}]
)
def test_settings_out_of_bounds_are_refused_and_nothing_is_stored(user, model, settings_):
    assert refusal(lambda: ask(user, **settings_)) == "bad_settings"
    assert not Conversation.objects.exists()


# -- requests of programs -----------------------------------------------------------------------------

REQUEST = ApiRequest(
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "It"},
    ],
    parameters={"seed": 7},
)


def ask_once(user, model, request=REQUEST, client_id="once"):
    return Conversation.ask_once(user, request, model=model, client_id=client_id, source="api")


def test_a_request_of_a_program_is_stored_unchanged_in_a_hidden_conversation(user, model):
    started = ask_once(user, model)
    generation = Generation.objects.get(pk=started.generation_id)
    conversation = conversation_of(started)
    assert (generation.api_request, generation.source, generation.status) == (REQUEST, "api", "queued")
    assert (conversation.title, conversation.is_hidden, started.is_hidden) == ("What is this?", True, True)
    assert branch(started) == ["What is this?", ""]
    assert list(Conversation.objects.of(user).visible()) == []


def test_a_request_without_a_user_message_is_stored(user, model):
    started = ask_once(user, model, ApiRequest([{"role": "system", "content": "Say something."}]))
    assert branch(started) == ["", ""]


def test_a_client_id_of_a_program_belongs_to_one_request(user, model):
    first = ask_once(user, model)
    assert ask_once(user, model).generation_id == first.generation_id
    assert refusal(lambda: ask_once(user, model, ApiRequest(REQUEST.messages))) == "conflict"
    assert Generation.objects.count() == 1


def test_characters_that_a_database_cannot_store_are_removed_from_a_request(user, model):
    request = ApiRequest([{"role": "user", "content": "a\x00b\ud800", "na\x00me": "\x00"}])
    started = ask_once(user, model, request.cleaned())
    generation = Generation.objects.get(pk=started.generation_id)
    assert generation.api_request.messages == [{"role": "user", "content": "ab\ufffd", "name": ""}]


def test_requests_of_programs_do_not_count_for_the_limits_of_the_chat(user, model, settings):
    settings.RUNNING_PER_USER = settings.ASKS_PER_MINUTE = 1
    ask_once(user, model)
    ask(user, "hello")
