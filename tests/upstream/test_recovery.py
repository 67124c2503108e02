"""Recovery of answers that are cut after their first delta, against a provider on a real socket."""

import pytest

from chat import events, upstream
from chat.upstream import Recovery, errors
from tests.upstream.support import GOOD, QUICK, ask, of, shown, site

CUTS = [
    ("cut after=5", errors.Cut),
    ("drop after=5", errors.Cut),
    ("reset after=5", errors.Cut),
    ("cut after=end", errors.Cut),
    ("malformed after=5", errors.Malformed),
    ("error after=5", errors.StreamedError),
    ("event_error after=5", errors.StreamedError),
    ("stall after=5", errors.Stalled),
    ("stall after=5 keepalive_s=0.05", errors.Stalled),
]
ONLY_CONTINUE = upstream.Policy(recoveries=frozenset({Recovery.CONTINUE}))
KEEP = upstream.Policy(recoveries=frozenset())


@pytest.mark.parametrize(("fault", "kind"), CUTS)
async def test_a_model_that_can_continue_continues_where_it_was_cut(fault, kind):
    outcome = await ask(f"go on [[{fault} times=1]]", timeouts=QUICK, continues=True)
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    assert outcome.of(events.Restarted) == []
    assert outcome.calls == 2
    first = "".join(
        step.text
        for step in outcome.steps[: outcome.steps.index(*outcome.of(upstream.ContinuedStep))]
        if isinstance(step, events.Delta)
    )
    assert outcome.prefills == [None, first]
    assert [type(step.error) for step in outcome.of(upstream.ContinuedStep)] == [kind]


@pytest.mark.parametrize(("fault", "kind"), CUTS)
async def test_a_model_that_cannot_continue_restarts_and_the_same_text_shows_no_seam(fault, kind):
    outcome = await ask(f"once more [[{fault} times=1]]", timeouts=QUICK)
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    assert outcome.of(events.Restarted) == []
    assert outcome.prefills == [None, None]
    assert [type(step.error) for step in outcome.of(upstream.RetryingStep)] == [kind]


async def test_a_restart_with_other_text_replaces_the_old_text():
    outcome = await ask("[[cut after=5 times=1]] [[vary]]")
    assert outcome.error is None
    assert [step.reason for step in outcome.of(events.Restarted)] == ["cut"]
    last = outcome.provider.requests[-1]
    assert outcome.text == last.text
    assert not last.text.startswith(outcome.provider.requests[0].text)


async def test_an_answer_can_be_cut_twice():
    outcome = await ask("[[cut after=5 on=1]] [[drop after=5 on=2]]", continues=True)
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    assert outcome.calls == 3


@pytest.mark.parametrize("continues", [True, False])
async def test_an_answer_that_is_always_cut_keeps_its_text_after_two_recoveries(continues):
    outcome = await ask("[[cut after=5]]", continues=continues)
    assert type(outcome.error) is errors.Cut
    assert outcome.calls == 3
    assert outcome.text
    assert outcome.full_text.startswith(outcome.text)


@pytest.mark.parametrize(
    ("policy", "recoveries", "continues", "calls"),
    [
        (KEEP, 2, True, 1),
        (KEEP, 2, False, 1),
        (ONLY_CONTINUE, 2, False, 1),
        (ONLY_CONTINUE, 2, True, 2),
        (upstream.Policy(), 0, True, 1),
    ],
)
async def test_the_partial_text_can_be_kept_instead(policy, recoveries, continues, calls):
    outcome = await ask("[[cut after=5 times=1]]", policy=policy, recoveries=recoveries, continues=continues)
    assert outcome.calls == calls
    assert (outcome.error is None) == (calls == 2)
    assert outcome.full_text.startswith(outcome.text)


async def test_calls_before_the_first_delta_of_a_recovery_are_retries():
    outcome = await ask("[[cut after=5 on=1]] [[status=503 on=2]]", recoveries=1, continues=True)
    assert outcome.error is None
    assert outcome.text == outcome.full_text
    assert [step.recovery for step in outcome.of(upstream.StartedStep)] == [None, "continue", "continue"]


@pytest.mark.parametrize(
    "fault", ["error after=5 code=insufficient_quota", "error after=5 code=content_filter"]
)
async def test_permanent_failures_are_not_recovered_from(fault):
    outcome = await ask(f"[[{fault}]]", continues=True)
    assert outcome.calls == 1
    assert outcome.text
    assert outcome.error is not None


@pytest.mark.parametrize("model", ["fake-prefill-echo", "fake-prefill-ignore"])
async def test_a_model_that_repeats_the_text_before_continuing_shows_nothing_twice(model):
    outcome = await ask("echo [[cut after=5 times=1]]", model=model, continues=True)
    assert outcome.error is None
    assert outcome.text == outcome.full_text


async def test_a_refused_prefill_causes_a_restart_and_is_remembered():
    first = await ask("refused [[cut after=5 times=1]]", model="fake-prefill-reject", continues=True)
    refused = [step.parameter for step in first.of(upstream.RefusedStep)]
    again = await ask(
        "and again [[cut after=5 times=1]]",
        model="fake-prefill-reject",
        continues=True,
        refused=frozenset(refused),
    )
    assert refused == ["prefill"]
    assert first.error is None
    assert first.text == first.full_text
    assert [prefill is not None for prefill in first.prefills] == [False, True, False]
    assert again.text == again.full_text
    assert again.prefills == [None, None]


@pytest.mark.parametrize("continues", [True, False])
@pytest.mark.parametrize("after", range(8, 14))
async def test_half_a_character_at_the_cut_is_not_part_of_the_text(after, continues):
    outcome = await ask(
        f"[[cut after={after} times=1]] [[split_pairs ascii chars=1 text=Twelve: 🙂🙂🙂 and so on]]",
        continues=continues,
    )
    assert outcome.error is None
    assert outcome.text == "Twelve: 🙂🙂🙂 and so on"


async def test_a_very_short_text_is_restarted():
    outcome = await ask("[[cut after=1 times=1]]", continues=True)
    assert outcome.text == outcome.full_text
    assert outcome.prefills == [None, None]


async def test_thinking_that_was_cut_is_restarted_as_a_retry():
    outcome = await ask("[[reasoning=5 deltas=20]] [[cut after=3 times=1]]", recoveries=0)
    assert outcome.error is None
    assert len(outcome.of(events.Restarted)) == 1
    assert outcome.text == outcome.full_text
    [restarted] = outcome.of(events.Restarted)
    after = outcome.steps[outcome.steps.index(restarted) :]
    assert outcome.thinking == shown(after, events.Thinking) != ""


async def test_text_left_by_a_lost_process_is_continued():
    full_text = (await ask("left behind")).full_text
    outcome = await ask("left behind", partial=full_text[:30], continues=True, recoveries=1)
    assert outcome.error is None
    assert full_text[:30] + outcome.text == full_text
    assert [type(step.error) for step in outcome.of(upstream.ContinuedStep)] == [errors.ProcessLost]
    assert outcome.prefills == [full_text[:30]]


async def test_text_left_by_a_lost_process_is_kept_without_a_recovery_left():
    outcome = await ask("left behind", partial="Once upon a time", continues=True, recoveries=0)
    assert type(outcome.error) is errors.ProcessLost
    assert outcome.calls == 0


async def test_calls_of_a_lost_process_count():
    outcome = await ask("[[status=503]]", endpoint="e", made=[("e", "fake")] * 2)
    assert outcome.calls == 1


# -- recovery by a fallback ------------------------------------------------------------------------


class Screen:
    """The text of an answer, as it is displayed."""

    def __init__(self):
        self.steps = []

    async def text_so_far(self):
        return shown(self.steps, events.Delta)

    async def watch(self, steps):
        async for step in steps:
            self.steps.append(step)


@pytest.mark.parametrize(
    ("model", "continues", "asked", "prefilled"),
    [
        # The same model first, the fallback for the last recovery.
        ("fake-cut-after-5", (True, True), ["fake-cut-after-5", "fake-cut-after-5", GOOD], [0, 1, 1]),
        ("fake-cut-after-5", (False, False), ["fake-cut-after-5", "fake-cut-after-5", GOOD], [0, 0, 0]),
        # At once to a fallback that can keep the text.
        ("fake-malformed-after-5", (False, True), ["fake-malformed-after-5", GOOD], [0, 1]),
        # A model that stalled is not called again.
        ("fake-stall-after-5", (True, True), ["fake-stall-after-5", GOOD], [0, 1]),
        ("fake-stall-after-5", (True, False), ["fake-stall-after-5", GOOD], [0, 0]),
    ],
)
async def test_a_fallback_completes_the_answer_on_the_same_screen(model, continues, asked, prefilled):
    screen = Screen()
    async with site() as here:
        route = [
            here.target(name, continues=can, timeouts=QUICK)
            for name, can in zip((model, GOOD), continues, strict=True)
        ]
        await screen.watch(here.steps(*route, question="tell me", text_so_far=screen.text_so_far))
        assert here.asked == asked
        assert [record.prefill is not None for record in here.provider.requests] == list(map(bool, prefilled))
        assert await screen.text_so_far() == here.provider.text_for("tell me")
    assert of(screen.steps, events.Restarted) == []
    assert screen.steps[-1].target.model == GOOD
