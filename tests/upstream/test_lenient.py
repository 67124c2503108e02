"""Pieces and documents with fields of other types than OpenAI's."""

import copy
import json
import random

import pytest

from chat.upstream import errors
from chat.upstream.lenient import usage_of
from chat.upstream.types import Usage
from tests.support.environment import repeats
from tests.upstream.scripted import DONE, answer_to, event, piece

DOCUMENT = {"choices": [{"message": {"role": "assistant", "content": "Whole."}, "finish_reason": "stop"}]}


def choice(**fields):
    return event({"choices": [{"index": 0, "finish_reason": "stop"} | fields]})


# Everything that is understood -> its text.
READABLE = {
    "message": ([choice(message={"content": "Text."}), DONE], "Text."),
    "older API": ([choice(text="Text."), DONE], "Text."),
    "parts": ([choice(delta={"content": [{"type": "text", "text": "Te"}, {"type": "x"}, "xt."]})], "Text."),
    "a part": ([choice(delta={"content": {"type": "text", "text": "Text."}}), DONE], "Text."),
    "no parts": ([choice(delta={"content": []}, finish_reason=None), piece("Text.", "stop"), DONE], "Text."),
    "number": ([choice(delta={"content": 42}), DONE], "42"),
    "text as delta": ([choice(delta="Text."), DONE], "Text."),
    "mark": (["\ufeff" + choice(delta={"content": "Text."}), DONE], "Text."),
    "CR": ([choice(delta={"content": "Text."}).replace("\n", "\r"), DONE], "Text."),
    "no space": ([choice(delta={"content": "Text."}).replace("data: ", "data:"), DONE], "Text."),
    "Latin-1": ([piece("Caf\xe9.", "stop").replace("\\u00e9", "\xe9").encode("latin1"), DONE], "Caf\ufffd."),
    "NaN": ([piece("Text.", "stop").replace('"index": 0', '"index": 0, "logprobs": NaN'), DONE], "Text."),
    "huge number": ([piece("Text.", "stop", n=0).replace('"n": 0', '"n": ' + "9" * 9999), DONE], "Text."),
    "document": ([json.dumps(DOCUMENT)], "Whole."),
    "document over lines": ([json.dumps(DOCUMENT, indent=1), "\n"], "Whole."),
    "document with mark": (["\ufeff" + json.dumps(DOCUMENT)], "Whole."),
    "document without reason": ([json.dumps({"choices": [{"message": {"content": "Whole."}}]})], "Whole."),
    "two choices": (
        [
            event({"choices": [{"index": n, "delta": {"content": text}} for n, text in enumerate("AB")]}),
            choice(index=1, delta={"content": "B"}),
            piece("A", "stop"),
            DONE,
        ],
        "AA",
    ),
    "text after the end": ([piece("Text.", "stop"), DONE, piece("more"), DONE], "Text."),
}  # fmt: skip


@pytest.mark.parametrize("name", READABLE)
def test_an_answer_is_read_in_whatever_form_it_comes(name):
    sent, text = READABLE[name]
    answer = answer_to(sent)
    assert answer.error is None
    assert (answer.text, answer.reason, answer.calls) == (text, "stop", 1)


def test_thinking_parts_are_reasoning():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "I add. "}]}]
    thinking = choice(delta={"content": parts}, finish_reason=None)
    answer = answer_to([thinking, piece("Four"), piece(".", "stop"), DONE])
    assert (answer.thinking, answer.text, answer.calls) == ("I add. ", "Four.", 1)


@pytest.mark.parametrize("usage", ["", [], [1], {}, {"prompt_tokens": None}, 5, True, {"prompt_tokens": {}}])
def test_token_counts_that_cannot_be_read_are_left_out(usage):
    answer = answer_to([piece("All "), piece("of it.", "stop", usage=usage), DONE])
    assert (answer.text, answer.usage, answer.calls) == ("All of it.", None, 1)


def test_token_counts_are_read_from_numbers_and_texts():
    assert usage_of({"prompt_tokens": 5.0, "completion_tokens": "9"}) == Usage(5, 9)
    assert usage_of({"input_tokens": 5, "output_tokens": 9.4}) == Usage(5, 9)
    assert usage_of({"prompt_tokens": -1, "completion_tokens": 10**30}) is None
    assert usage_of({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}) is None


@pytest.mark.parametrize("error", ["", {}, None, False, [], 0, {"message": ""}, {"message": None, "code": 0}])
def test_only_an_error_that_says_something_is_one(error):
    answer = answer_to([piece("All ", error=error), piece("of it.", "stop", error=error), DONE])
    assert (answer.text, answer.error, answer.calls) == ("All of it.", None, 1)


@pytest.mark.parametrize(
    "error",
    ["overloaded", {"message": "overloaded"}, {"code": 500}, {"type": "x"}],
)
def test_an_error_in_the_stream_is_one(error):
    assert answer_to([event({"error": error}), DONE]).error is not None
    document = answer_to([json.dumps({"error": error})])
    assert document.error is not None
    assert document.text == ""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"done":false}\n{"done":true}\n', errors.NotAStream),
        ("<html>Welcome</html>", errors.NotAStream),
        ("", errors.NotAStream),
        ("{}", errors.NotAStream),
        ("[]", errors.Malformed),
        ('{"choices":[{"message":{"content":"hal', errors.Malformed),
    ],
)
def test_what_is_no_answer_is_an_error(body, kind):
    answer = answer_to([body] if body else [b""])
    assert type(answer.error) is kind
    assert answer.calls == 3


STREAM = [
    {
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "system_fingerprint": "f",
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": text, "reasoning_content": None,
             "refusal": None, "tool_calls": None}, "logprobs": None, "finish_reason": reason}
        ],
        "usage": usage, "error": None,
    }
    for text, reason, usage in [
        ("One ", None, None), ("two ", None, None), ("three.", None, None),
        ("", "stop", {"prompt_tokens": 1, "completion_tokens": 3, "details": {"cached_tokens": 0}}),
    ]
]  # fmt: skip
WHOLE = "One two three."
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**40,
    "",
    "x",
    "null",
    [],
    [1],
    ["x"],
    [[]],
    {},
    {"a": 1},
    {"text": "x"},
]
# Replacing these may replace text, or say that the answer is not whole.
MEANINGFUL = {"content", "choices", "delta", "finish_reason", "error", "refusal", "message", "index", "[0]"}


def paths_of(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_of(item, (*path, key))


def with_replaced(value, path, new):
    """Return a copy of `value` whose part at `path` is `new`."""
    if not path:
        return copy.deepcopy(new)
    copied = copy.deepcopy(value)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = copy.deepcopy(new)
    return copied


def check(answer, *, is_meaningful):
    """Whatever was sent: a whole answer, or a named error after the calls that the ladder allows."""
    assert answer.calls <= 3
    if answer.reason is None:
        assert isinstance(answer.error, errors.UpstreamError)
    if not is_meaningful:
        assert (answer.error, answer.text, answer.reason, answer.calls) == (None, WHOLE, "stop", 1)


def is_meaningful(path):
    last = path[-1] if path else "choices"
    return last in MEANINGFUL or isinstance(last, int)


@pytest.mark.parametrize("number", range(len(STREAM)))
def test_no_side_field_of_any_type_costs_an_answer(number):
    for path in paths_of(STREAM[number]):
        for new in ODD:
            pieces = list(STREAM)
            pieces[number] = with_replaced(STREAM[number], path, new)
            answer = answer_to([*map(event, pieces), DONE])
            check(answer, is_meaningful=is_meaningful(path))
            if (
                answer.reason == "stop"
                and path
                and path[-1] not in ("choices", 0, "index", "delta", "content")
            ):
                assert WHOLE.rstrip(".") in answer.text or answer.text.startswith("One")


def test_no_side_field_of_a_document_costs_an_answer():
    message = {"role": "assistant", "content": WHOLE, "refusal": None, "tool_calls": None, "annotations": []}
    document = STREAM[-1] | {
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    }
    for path in paths_of(document):
        for new in ODD:
            answer = answer_to([json.dumps(with_replaced(document, path, new))])
            check(answer, is_meaningful=is_meaningful(path))


def test_thousands_of_answers_with_several_odd_fields_end_whole_or_with_a_named_error():
    rng = random.Random(10)
    for _n in range(repeats(4000)):
        pieces = list(STREAM)
        paths = []
        for _change in range(rng.randrange(1, 4)):
            number = rng.randrange(len(pieces))
            path = rng.choice([*paths_of(pieces[number])])
            pieces[number] = with_replaced(pieces[number], path, rng.choice(ODD))
            paths.append(path)
        answer = answer_to([*map(event, pieces), DONE])
        check(answer, is_meaningful=any(map(is_meaningful, paths)))
