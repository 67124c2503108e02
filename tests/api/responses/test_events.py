"""The events of a response are a pure function of its log; here of logs that are written by hand."""

import json

import pytest

from chat import events
from chat.api.responses import schemas as wire
from chat.api.responses.events import RESTARTED, ResponseEvents

QUEUED, STARTED = events.Queued(3), events.Started("fake")
FIRST_CALL = [events.ToolCall(0, "call_a", "search", ""), events.ToolCall(0, arguments='{"q":1}')]
SECOND_CALL = [events.ToolCall(1, "call_b", "read", '{"p"'), events.ToolCall(1, arguments=":2}")]
WHOLE = [
    *(QUEUED, events.Queued(2), STARTED, events.Thinking("Let "), events.Thinking("me see.")),
    *(events.Delta("It "), events.Retrying(2, 3, 0.1, "cut", "cut"), STARTED, events.Delta("is.")),
    *(*FIRST_CALL, *SECOND_CALL, events.Completed("tool_calls")),
]


def begun(status):
    return wire.ResponseObject(id="resp_7", created_at=1, status=status, model="fake", output=[])


def fold(rows, **options):
    """Return the folding state and all events of these rows, but for the last one of a response."""
    state = ResponseEvents(7, begun, **{"is_background": False} | options)
    made = state.opening()
    for row in rows:
        made += state.of(row)
    return state, made


def types(made):
    return [event.type.removeprefix("response.") for event in made]


def test_all_kinds_of_items_in_order():
    state, made = fold(WHOLE)
    text = ["output_item.added", "content_part.added"]
    ends = ["content_part.done", "output_item.done"]
    arguments = "function_call_arguments"
    assert types(made) == [
        *("created", "queued", "in_progress"),
        *(*text, "reasoning_text.delta", "reasoning_text.delta", "reasoning_text.done", *ends),
        *(*text, "output_text.delta", "output_text.delta", "output_text.done", *ends),
        *("output_item.added", f"{arguments}.delta"),
        *("output_item.added", f"{arguments}.delta", f"{arguments}.delta"),
        *(f"{arguments}.done", "output_item.done", f"{arguments}.done", "output_item.done"),
    ]
    assert [event.number for event in made] == list(range(len(made)))
    assert [(item.id, item.status) for item in state.items] == [
        *(("rs_7_0", "completed"), ("msg_7_0", "completed"), ("fc_7_0", "completed")),
        ("fc_7_1", "completed"),
    ]
    assert [state.items[1].content[0].text, state.items[3].arguments] == ["It is.", '{"p":2}']
    assert (state.items[2].call_id, state.items[2].name) == ("call_a", "search")


def test_every_event_names_its_place():
    _state, made = fold(WHOLE)
    ids = {}
    for event in made:
        data = json.loads(event.payload)
        assert (data["type"], data["sequence_number"]) == (event.type, event.number)
        if event.type == "response.output_item.added":
            assert data["item"]["status"] == "in_progress"
            assert data["item"].get("content", data["item"].get("arguments")) in ([], "")
            ids[data["output_index"]] = data["item"]["id"]
        elif "output_index" in data:
            assert data.get("item_id", data.get("item", {}).get("id")) == ids[data["output_index"]]
    assert sorted(ids) == [0, 1, 2, 3]


def test_the_first_events_have_no_output_whenever_they_are_told():
    _state, made = fold([QUEUED, STARTED], is_background=True)
    statuses = [event.values["response"].status for event in made]
    assert statuses == ["queued", "queued", "in_progress"]
    assert all(event.values["response"].output == [] for event in made)


@pytest.mark.parametrize(
    ("end", "statuses"),
    [
        (events.Completed("length"), ["completed", "incomplete"]),
        (events.Completed("content_filter"), ["completed", "incomplete"]),
        (events.Stopped(), ["completed", "incomplete"]),
        (events.Interrupted("cut", "It was cut."), ["completed", "incomplete"]),
        (events.Completed("stop"), ["completed", "completed"]),
    ],
)
def test_only_the_last_item_of_an_answer_that_ended_early_is_incomplete(end, statuses):
    state, _made = fold([STARTED, events.Thinking("Hm."), events.Delta("Yes"), end])
    assert [item.status for item in state.items] == statuses


def test_pieces_of_parallel_calls_may_take_turns():
    first, second = FIRST_CALL, SECOND_CALL
    rows = [STARTED, first[0], second[0], first[1], second[1], events.Completed("tool_calls")]
    state, _made = fold(rows)
    assert [item.arguments for item in state.items] == ['{"q":1}', '{"p":2}']


def test_text_after_a_call_is_an_item_of_its_own():
    rows = [STARTED, events.Delta("First."), *FIRST_CALL, events.Delta("Then."), events.Completed("stop")]
    state, _made = fold(rows)
    assert [item.id for item in state.items] == ["msg_7_0", "fc_7_0", "msg_7_1"]


def test_a_restart_before_any_item_changes_nothing():
    rows = [STARTED, events.Restarted("stalled"), events.Delta("Yes"), events.Completed("stop")]
    _state, made = fold(rows)
    without = fold([STARTED, events.Delta("Yes"), events.Completed("stop")])[1]
    assert [event.payload for event in made] == [event.payload for event in without]


def test_a_restart_begins_again_with_higher_numbers():
    rows = [STARTED, events.Delta("No"), events.Restarted("stalled"), STARTED, events.Delta("Yes")]
    state, made = fold([*rows, events.Completed("stop")])
    assert [event.number for event in made] == list(range(len(made)))
    marker = types(made).index(RESTARTED)
    assert types(made)[marker + 1 : marker + 4] == ["created", "in_progress", "output_item.added"]
    assert [item.content[0].text for item in state.items] == ["Yes"]


def test_text_that_became_reasoning_is_left_out_of_the_output():
    again = [events.Restarted(events.BECAME_REASONING), events.Thinking("Hm."), events.Delta("Yes")]
    state, made = fold([STARTED, events.Delta("Hm."), *again, events.Completed("stop")])
    assert RESTARTED not in types(made)
    assert [item.id for item in state.items] == ["rs_7_0", "msg_7_1"]


def test_an_answer_without_a_log_has_one_delta_for_each_item():
    calls = [events.WholeToolCall("call_a", "search", "{}")]
    snapshot = events.Snapshot("completed", "It is.", "Hm.", "tool_calls", tool_calls=calls)
    state, opening = fold([])
    made = opening + state.short_form(snapshot)
    assert [event.number for event in made] == list(range(len(made)))
    assert [name for name in types(made) if name.endswith(".delta")] == [
        *("reasoning_text.delta", "output_text.delta", "function_call_arguments.delta")
    ]


def test_the_last_event_has_a_number_behind_all_that_the_client_has():
    state, made = fold(WHOLE)
    done = wire.ResponseObject(id="resp_7", created_at=1, status="completed", model="fake", output=[])
    assert state.last(done).number == len(made)
    assert fold(WHOLE)[0].last(done, after=400).number == 401


def test_a_refusal_is_a_part_of_its_own():
    rows = [STARTED, events.Delta("I can", is_refusal=True), events.Delta("not.", is_refusal=True)]
    state, made = fold([*rows, events.Completed("stop")])
    assert types(made)[2:] == [
        *("output_item.added", "content_part.added", "refusal.delta", "refusal.delta", "refusal.done"),
        *("content_part.done", "output_item.done"),
    ]
    assert made[-3].values["refusal"] == "I cannot."
    assert state.items[0].content == [wire.OutputRefusal("I cannot.")]
