"""Parameters that a server refuses are left out, or sent in another form, after one call."""

import json

import pytest

from chat import upstream
from chat.upstream import errors
from chat.upstream.request_body import request_body, sent_parameters
from tests.upstream.scripted import DONE, piece
from tests.upstream.support import saying

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello"}
PROMPT = upstream.Prompt([SYSTEM, USER], temperature=0.2, max_output_tokens=5, extra={"top_k": 3})
TARGET = upstream.Target("http://x/v1", "", "m")


def test_a_refused_parameter_is_left_out():
    body = request_body(TARGET, PROMPT, {"temperature", "stream_options", "top_k"})
    assert set(body) == {"model", "messages", "stream", "max_tokens"}
    assert request_body(TARGET, PROMPT, {"model", "messages", "stream"}) == request_body(TARGET, PROMPT, ())


def test_the_limit_is_sent_under_its_other_name_and_then_not_at_all():
    assert request_body(TARGET, PROMPT, {"max_tokens"})["max_completion_tokens"] == 5
    neither = request_body(TARGET, PROMPT, {"max_tokens", "max_completion_tokens"})
    assert not {"max_tokens", "max_completion_tokens"} & set(neither)
    newer = upstream.Target("https://api.openai.com/v1", "", "m")
    assert request_body(newer, PROMPT, ())["max_completion_tokens"] == 5


def test_a_refused_system_prompt_becomes_part_of_the_question():
    assert request_body(TARGET, PROMPT, {"system"})["messages"] == [
        {"role": "user", "content": "Be brief.\n\nHello"}
    ]
    parts = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    joined = request_body(TARGET, upstream.Prompt([SYSTEM, parts]), {"system"})["messages"]
    assert [part["text"] for part in joined[0]["content"]] == ["Be brief.", "Hello"]
    in_parts = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert request_body(TARGET, upstream.Prompt([in_parts, USER]), {"system"})["messages"] == [
        {"role": "user", "content": "Be brief.\n\nHello"}
    ]


def test_developer_messages_are_system_messages_except_at_openai():
    developer = {"role": "developer", "content": "In Latin."}
    prompt = upstream.Prompt([SYSTEM, developer, USER, developer])
    assert request_body(TARGET, prompt, ())["messages"] == [
        {"role": "system", "content": "Be brief.\n\nIn Latin."},
        USER,
        {"role": "system", "content": "In Latin."},
    ]
    assert "system" in sent_parameters(TARGET, upstream.Prompt([developer, USER]), ())
    openai = upstream.Target("https://api.openai.com/v1", "", "m")
    assert request_body(openai, prompt, ())["messages"] == [*prompt.messages]


def test_only_what_is_sent_and_dispensable_can_be_refused():
    sent = {"temperature", "max_tokens", "stream_options", "top_k", "system"}
    assert sent_parameters(TARGET, PROMPT, ()) == sent
    assert sent_parameters(TARGET, upstream.Prompt([USER]), ()) == {"stream_options"}


class Server:
    """Refuses what it is told to; the words are those of several servers."""

    def __init__(self, *refusals):
        self._refusals, self.bodies = refusals, []

    def open(self, request):
        from contextlib import asynccontextmanager

        @asynccontextmanager
        async def respond():
            body = request.body
            self.bodies.append(json.loads(json.dumps(body)))
            for name, words in self._refusals:
                is_sent = any(each["role"] == "system" for each in body["messages"])
                if is_sent if name == "system" else name in body:
                    error = errors.Rejected(words, status=400)
                    error.refused_parameters = (name,)
                    raise error
            yield reads()

        async def reads():
            yield (piece("Answer.", "stop") + DONE).encode()

        return respond()


async def steps_of(server, target=TARGET):
    def prompt(target, *, partial, may_prefill, refused):
        return PROMPT

    return [
        step
        async for step in upstream.stream(
            [target], prompt, client=server, state=upstream.UpstreamState(), budget=upstream.CallBudget()
        )
    ]


@pytest.mark.parametrize("name", ["temperature", "max_tokens", "stream_options", "top_k", "system"])
async def test_the_model_is_called_once_more_without_a_refused_parameter(name):
    server = Server((name, "not supported"))
    steps = await steps_of(server)
    refused = [step for step in steps if isinstance(step, upstream.RefusedStep)]
    started = [step for step in steps if isinstance(step, upstream.StartedStep)]
    assert [step.parameter for step in refused] == [name]
    assert [step.left_out for step in started] == [(), (name,)]
    assert isinstance(steps[-1], upstream.Finished)
    known = upstream.Target("http://x/v1", "", "m", refused=frozenset({name}))
    server.bodies.clear()
    await steps_of(server, known)
    assert len(server.bodies) == 1


async def test_two_refusals_cost_two_calls_and_a_third_ends_the_answer():
    two = Server(("temperature", "no"), ("stream_options", "no"))
    assert isinstance((await steps_of(two))[-1], upstream.Finished)
    assert len(two.bodies) == 3
    three = Server(("temperature", "no"), ("stream_options", "no"), ("top_k", "no"))
    with pytest.raises(errors.Rejected):
        await steps_of(three)
    assert len(three.bodies) == 3


async def test_a_refusal_of_what_was_not_sent_ends_the_answer():
    class Stubborn(Server):
        def open(self, request):
            error = errors.Rejected("no", status=400)
            error.refused_parameters = ("seed", "messages", "model")
            self.bodies.append(request.body)
            raise error

    server = Stubborn()
    with pytest.raises(errors.Rejected):
        [
            step
            async for step in upstream.stream(
                [TARGET],
                saying("x"),
                client=server,
                state=upstream.UpstreamState(),
                budget=upstream.CallBudget(),
            )
        ]
    assert len(server.bodies) == 1


async def test_other_answers_of_the_process_know_at_once():
    state = upstream.UpstreamState()
    server = Server(("temperature", "no"))
    for calls in (2, 3):

        def prompt(target, *, partial, may_prefill, refused):
            return PROMPT

        steps = upstream.stream([TARGET], prompt, client=server, state=state, budget=upstream.CallBudget())
        assert isinstance([step async for step in steps][-1], upstream.Finished)
        assert len(server.bodies) == calls
