"""Exit codes: every code of an error has one."""

from chat import events
from chat.management.exits import OUR_REFUSALS, REJECTIONS, Exit, exit_of
from chat.upstream import errors


def codes_under(kind):
    return {kind.code}.union(*(codes_under(subclass) for subclass in kind.__subclasses__()))


def test_every_rejection_of_a_provider_has_the_exit_code_for_rejections():
    assert codes_under(errors.Rejected) <= REJECTIONS
    assert codes_under(errors.UpstreamError) | {"budget_exceeded"} >= REJECTIONS | OUR_REFUSALS
    for kind in (errors.Unreachable, errors.Busy, errors.TooSlow, errors.BadStream, errors.BreakerOpen):
        for code in codes_under(kind):
            assert exit_of(events.Failed(code, "")) == Exit.UNAVAILABLE, code
