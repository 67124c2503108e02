"""How an answer ends: its finish reason, what comes after it, and how long an endpoint is waited for."""

import pytest

from chat.upstream import errors
from chat.upstream.finish_reasons import Ending, ending_of, reason_in
from tests.upstream.scripted import DONE, answer_to, event, piece

GOOD = [piece("Another answer.", "stop"), DONE]


@pytest.mark.parametrize(
    ("word", "ending"),
    [
        ("stop", Ending.COMPLETE),
        ("STOP", Ending.COMPLETE),
        ("end_turn", Ending.COMPLETE),
        ("eos", Ending.COMPLETE),
        ("length", Ending.LENGTH),
        ("max_tokens", Ending.LENGTH),
        ("MAX_TOKENS", Ending.LENGTH),
        ("FINISH_REASON_MAX_TOKENS", Ending.LENGTH),
        ("model_length", Ending.LENGTH),
        ("SAFETY", Ending.FILTERED),
        ("content_filter", Ending.FILTERED),
        ("tool_use", Ending.TOOL_CALLS),
        ("insufficient_system_resource", Ending.FAILED),
        ("error", Ending.FAILED),
        ("banana", Ending.UNKNOWN),
    ],
)
def test_finish_reasons_of_all_providers_have_one_meaning(word, ending):
    assert ending_of(word) is ending


@pytest.mark.parametrize("value", [None, "", "null", "None", False, [], {}])
def test_what_stands_for_no_finish_reason_is_none(value):
    assert reason_in(value) is None


@pytest.mark.parametrize("value", [1, True, ["stop"], {"reason": "stop"}])
def test_a_finish_reason_of_an_odd_type_is_not_a_clean_end(value):
    assert ending_of(reason_in(value)) is Ending.UNKNOWN


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "model_length"])
def test_the_words_for_length_are_passed_on_as_length(reason):
    answer = answer_to([piece("Cut by leng"), piece(finish=reason), DONE])
    assert (answer.text, answer.reason, answer.calls) == ("Cut by leng", "length", 1)


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
def test_an_answer_that_failed_is_recovered_and_never_complete(reason):
    failed = [piece("Half a sentence"), piece("", reason), DONE]
    assert answer_to(failed, GOOD).text == "Another answer."
    given_up = answer_to(failed)
    assert isinstance(given_up.error, errors.Cut)
    assert (given_up.reason, given_up.text, given_up.calls) == (None, "Half a sentence", 3)


def test_an_unknown_reason_keeps_the_text_and_is_named_but_not_asked_again(caplog):
    answer = answer_to([piece("Half", "banana"), DONE], GOOD)
    assert isinstance(answer.error, errors.UnknownFinishReason)
    assert "banana" in answer.error.detail
    assert "banana" in caplog.text
    assert (answer.text, answer.calls) == ("Half", 1)


def test_text_after_a_finish_reason_is_read():
    thinking = {"role": "assistant", "content": None, "reasoning_content": "Let me see. "}
    first = event({"choices": [{"index": 0, "delta": thinking, "finish_reason": "stop"}]})
    answer = answer_to([first, 6, piece("The answer is 42."), piece(finish="stop"), DONE])
    assert (answer.text, answer.thinking, answer.reason) == ("The answer is 42.", "Let me see. ", "stop")
    pieces = [item for word in ("a ", "b ", "c ", "d") for item in (piece(word, "stop"), 8)]
    assert answer_to([*pieces, DONE]).text == "a b c d"


def test_the_word_null_is_no_finish_reason():
    answer = answer_to([piece("Null ", "null"), 7, piece("as a word.", "stop"), DONE])
    assert (answer.text, answer.reason) == ("Null as a word.", "stop")
    assert isinstance(answer_to([piece("Null", "null"), DONE]).error, errors.Cut)


@pytest.mark.parametrize("end", [[], [DONE], [errors.Cut("reset")], [500], [event({"error": "late"})]])
def test_an_answer_is_whole_after_its_finish_reason_however_the_stream_ends(end):
    answer = answer_to([piece("All."), piece(finish="stop"), *end], stall_s=20)
    assert (answer.text, answer.reason, answer.calls) == ("All.", "stop", 1)


def test_an_answer_that_goes_on_after_its_finish_reason_and_is_given_up_is_not_complete():
    answer = answer_to([piece("a", "stop"), 5, piece(" b"), 500])
    assert isinstance(answer.error, errors.Stalled)
    assert answer.reason is None
    thinking = event({"choices": [{"delta": {"reasoning_content": "Hm."}, "finish_reason": "stop"}]})
    assert answer_to([thinking, 500]).reason is None


COMMENT, ROLE = ": keep-alive\n\n", event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
EMPTY = event({"choices": []})


@pytest.mark.parametrize("sign", [COMMENT, ROLE, EMPTY])
def test_an_endpoint_that_shows_signs_of_life_is_given_the_total_timeout(sign):
    waiting = [item for _n in range(100) for item in (sign, 5)]
    answer = answer_to([*waiting, *GOOD])
    assert (answer.text, answer.calls) == ("Another answer.", 1)
    assert answer_to([sign, 400, *GOOD]).text == "Another answer."


def test_a_silent_endpoint_is_given_its_first_token_timeout():
    assert answer_to([59, *GOOD]).calls == 1
    silent = answer_to([61, *GOOD])
    assert isinstance(silent.error, errors.FirstTokenTimedOut)


def test_a_fallback_answers_after_ten_seconds_without_a_sign_of_life():
    answer = answer_to([COMMENT, 11, *GOOD], GOOD, fallback=True)
    assert (answer.text, answer.calls) == ("Another answer.", 2)
    assert answer.took_s == pytest.approx(10, abs=0.1)


def test_after_the_first_text_comments_are_no_progress():
    beginning = [piece("The beginning, and then nothing but comments.")]
    answer = answer_to([*beginning, *[item for _n in range(30) for item in (COMMENT, 1)]])
    assert isinstance(answer.error, errors.Stalled)
