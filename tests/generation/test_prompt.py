"""What a model is sent of a conversation."""

from chat.generation.claim import UNKNOWN_CONTEXT_TOKENS
from chat.generation.prompt import LEFT_OUT_AT_ONCE, fit, room_for_prompt, smaller_room, tokens_in
from chat.models import Message, Model
from chat.upstream import errors


def history(turns, words=20):
    texts = [f"message {n} " + "word " * words for n in range(2 * turns - 1)]
    roles = [Message.Role.ASSISTANT if n % 2 else Message.Role.USER for n in range(len(texts))]
    return [Message(role=role, text=text) for role, text in zip(roles, texts, strict=True)]


def test_all_of_a_short_conversation_is_sent_after_the_system_prompt():
    model = Model(context_tokens=16_000, system_prompt="the model's")
    fitted = fit(history(3), model, system_prompt="the conversation's")
    assert [message["role"] for message in fitted.prompt.messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert fitted.prompt.messages[0]["content"] == "the conversation's"
    assert fitted.left_out == 0


def test_what_is_sent_fits_and_begins_with_a_person():
    model = Model(context_tokens=1000)
    for turns in range(1, 60):
        fitted = fit(history(turns), model)
        assert sum(tokens_in(message["content"]) for message in fitted.prompt.messages) == fitted.tokens
        assert fitted.tokens <= room_for_prompt(model)
        assert fitted.prompt.messages[0]["role"] == "user"
        assert fitted.prompt.messages[-1]["content"].startswith(f"message {2 * turns - 2} ")
        assert fitted.left_out + len(fitted.prompt.messages) == 2 * turns - 1


def test_the_beginning_stays_the_same_for_several_turns():
    model = Model(context_tokens=2000)
    firsts = [fit(history(turns), model).prompt.messages[0]["content"] for turns in range(40, 80)]
    assert len(set(firsts)) <= len(firsts) * 2 / LEFT_OUT_AT_ONCE + 1


def test_messages_that_were_not_even_read_count_as_left_out():
    fitted = fit(history(3), Model(context_tokens=16_000), unread=100)
    assert fitted.left_out >= 100


def test_the_question_is_sent_even_if_it_does_not_fit():
    fitted = fit(history(5, words=5000), Model(context_tokens=1000))
    assert len(fitted.prompt.messages) == 1


def test_a_model_with_an_unknown_context_is_sent_much_but_not_everything():
    assert Model().context_tokens is None
    whole = fit(history(100, words=200), Model())
    assert whole.tokens > 60_000
    assert whole.left_out == 0
    bounded = fit(history(300, words=200), Model())
    assert bounded.left_out > 0
    assert 80_000 < bounded.tokens <= room_for_prompt(Model()) < UNKNOWN_CONTEXT_TOKENS


def test_after_a_refusal_what_the_endpoint_said_is_what_is_sent():
    model = Model()
    assert smaller_room(model, 10_000, errors.ContextTooLong(fits=0.2, limit_tokens=8192)) == 1800
    assert smaller_room(model, 100_000, errors.ContextTooLong(limit_tokens=8000)) == 6000
    assert smaller_room(model, 10_000, errors.ContextTooLong(limit_tokens=8000)) == 4500
    assert smaller_room(model, 10_000, errors.ContextTooLong()) == 4500
    assert smaller_room(model, 10_000, errors.ContextTooLong(fits=3.0)) == 9000


def test_a_partial_answer_is_continued_in_the_words_of_the_server():
    def ending(continuation):
        fitted = fit(history(1), Model(context_tokens=1000, continuation=continuation), partial="so far")
        return fitted.prompt.messages[1:], fitted.prompt.extra

    prefill = {"role": "assistant", "content": "so far"}
    assert ending("plain") == ([prefill], {})
    assert ending("vllm") == ([prefill], {"continue_final_message": True, "add_generation_prompt": False})
    assert ending("prefix") == ([{**prefill, "prefix": True}], {})
    messages, extra = ending("none")
    assert messages[0] == prefill
    assert messages[1]["role"] == "user"
    assert extra == {}
