"""Directives in model names, messages and schedules, and how they combine."""

import itertools

import pytest

from chat.fakeprovider import ThreadedProvider
from chat.fakeprovider.chat_request import parse
from chat.fakeprovider.directives import in_message
from tests.support.provider_client import ask

HELLO = "hello"


@pytest.fixture
def provider():
    with ThreadedProvider.running() as provider:
        yield provider


def test_faults_in_one_stream_happen_in_order(provider):
    reply = ask(provider, f"[[stall after=20 for_s=0.01]] [[cut after=30]] [[malformed after=10]] {HELLO}")

    assert len(reply.pieces()) == 30
    assert [n for n, payload in enumerate(reply.payloads) if payload.endswith('"hal')] == [11]


def test_fault_beyond_the_end_of_a_given_text_does_not_happen(provider):
    assert ask(provider, "[[cut after=10]] [[text=short]]").is_healthy


def test_options_of_higher_precedence_replace_those_of_lower_precedence(provider):
    provider.script("chars=3")

    reply = ask(provider, "[[chars=2 finish=length]]", model="fake-chars-1-deltas-5")

    assert [len(piece) for piece in reply.pieces()] == [3] * 5
    assert reply.finish == "length"


@pytest.mark.parametrize(
    ("model", "status", "deltas"),
    [
        ("gpt-4o", 200, 60),
        ("fake", 200, 60),
        ("fake:label", 200, 60),
        ("fake-cut-after-5", 200, 5),
        ("fake-cut-after-5:a-b-c", 200, 5),
        ("fake-stall-after-2-for-s-0.01+cut-after-4", 200, 4),
        ("fake-retry-after-2-status-429", 429, 0),
        ("fake-typo", 404, 0),
    ],
)
def test_model_names_carry_behaviours(provider, model, status, deltas):
    reply = ask(provider, HELLO, model=model)

    assert (reply.status, len(reply.pieces())) == (status, deltas)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("bogus", "unknown word 'bogus'; known words: after, alternate, ascii"),
        ("rate=fast", "rate='fast' should be rate=N"),
        ("body=xml status=500", "body=json|html|empty"),
        ("status=700", "should be status=N"),
        ("cut drop", "two faults"),
        ("after=3", "needs a fault"),
        ("echo=1", "takes no value"),
        ("deltas=20000000 chars=20000000", "is more than"),
    ],
)
def test_an_unknown_directive_is_rejected_with_the_known_words(provider, wrong, message):
    reply = ask(provider, f"[[{wrong}]]")

    assert (reply.status, reply.error["code"]) == (400, "unknown_directive")
    assert message in reply.error["message"]


def test_first_attempts_fail_and_the_next_has_the_same_text(provider):
    text = f"[[cut after=70 times=2]] {HELLO}"

    replies = [ask(provider, text) for _ in range(3)]

    assert [reply.is_done for reply in replies] == [False, False, True]
    assert replies[2].text.startswith(replies[0].text)
    assert len(replies[2].text) == 80 * 4


def test_chance_is_the_same_in_every_run():
    def outcomes():
        with ThreadedProvider.running(seed=3) as provider:
            return [ask(provider, f"[[drop chance=0.5]] {n}").is_whole for n in range(20)]

    assert outcomes() == outcomes()
    assert len(set(outcomes())) == 2


FORMS = {
    "plain": {},
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "prefix": {},
}


def continue_from(provider, prefill, model, form="plain", **more):
    last = {"role": "assistant", "content": prefill} | ({"prefix": True} if form == "prefix" else {})
    messages = [{"role": "user", "content": HELLO}, last]
    return ask(provider, "", model=model, messages=messages, **FORMS[form], **more)


@pytest.mark.parametrize(("kind", "form"), list(itertools.product(["plain", "vllm", "prefix"], FORMS)))
def test_prefill_is_continued_if_it_has_the_servers_form(provider, kind, form):
    text = provider.text_for(HELLO)

    reply = continue_from(provider, text[:50], f"fake-prefill-{kind}", form)

    if kind in ("plain", form):
        assert reply.text == text[50:]
    elif kind == "vllm":
        assert reply.text == text
    else:
        assert reply.status == 400


def test_prefill_is_echoed_ignored_or_rejected(provider):
    text = provider.text_for(HELLO)

    assert continue_from(provider, text[:50], "fake-prefill-echo").text == text
    assert continue_from(provider, "other ", "fake-prefill-echo").text == "other " + text
    assert continue_from(provider, text[:50], "fake-prefill-ignore").text == text
    assert continue_from(provider, text[:50], "fake-prefill-reject").status == 400
    assert continue_from(provider, text[:50], "fake-prefill-llama").text == text[50:]
    document = continue_from(provider, text[:50], "fake-prefill-llama", stream=False).json
    assert document["choices"][0]["message"]["content"] == text


@pytest.mark.parametrize("fault", ["cut", "drop", "reset", "error", "event_error"])
def test_answer_cut_twice_is_continued_to_the_same_text(provider, fault):
    question = f"[[{fault} after=30 times=2]] {HELLO}"
    text = ""
    for _ in range(3):
        partial = [{"role": "assistant", "content": text}] if text else []
        text += ask(provider, "", messages=[{"role": "user", "content": question}, *partial]).text

    assert text == provider.text_for(question)
    assert [record.outcome for record in provider.requests] == [fault, fault, "complete"]


def test_prompt_beyond_the_context_is_refused(provider):
    assert ask(provider, "word " * 200, model="fake-context-200").is_healthy
    refused = ask(provider, "word " * 201, model="fake-context-200")
    assert (refused.status, refused.error["code"]) == (400, "context_length_exceeded")


def test_only_the_last_paragraph_of_a_message_has_directives():
    [directive] = in_message("[[status=503]] before\n\n[[text=a\n\nb rate=5]] now")
    assert directive.options == {"text": "a\n\nb rate=5"}
    assert in_message("[[status=503]] before\n\nnow") == []


@pytest.mark.parametrize(
    ("roles", "alternates"),
    [
        ("system user", True),
        ("user assistant user", True),
        ("user assistant", True),
        ("system assistant user", False),
        ("user user", False),
        ("user assistant assistant", False),
    ],
)
def test_turns_alternate_if_each_side_speaks_once_and_the_user_first(roles, alternates):
    messages = [{"role": role, "content": "x"} for role in roles.split()]
    assert parse({"model": "fake", "messages": messages}).alternates == alternates
