"""Which model of a route is called next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chat.upstream import errors
from chat.upstream.breaker import INFINITE_S, BreakerState
from chat.upstream.request_body import PREFILL
from chat.upstream.state import UpstreamState
from chat.upstream.types import Target, TargetKey

_ABOUT_TOOLS = re.compile(r"\b(tools?|tool[_ ](choice|use|calls?)|functions?)\b", re.IGNORECASE)
_TAKES_NO_TOOLS = re.compile(
    r"(not support|unsupported|no endpoints found that support).{0,60}\btool"
    r"|\btool.{0,60}(not (be )?supported|unsupported)",
    re.IGNORECASE,
)


class Candidates:
    """The targets of a route that may still be called, in the order of the route."""

    def __init__(self, route: Sequence[Target], state: UpstreamState) -> None:
        self.targets = list(route)
        self._first = route[0]
        self._state = state
        # Learned from this answer's calls; what was known before is in the targets.
        self._refused: dict[TargetKey, frozenset[str]] = {}

    def choose(self, *, has_text: bool) -> Target:
        """Return the target to call next.

        It is the one that can be called soonest; among equals, one that can continue the text, if there is
        text. Otherwise the order of the route decides.
        """

        def rank(target: Target) -> tuple[float, bool]:
            return self.wait_s(target), has_text and not self.can_continue(target)

        return min(self.targets, key=rank)

    def discard(self, failed: Target, error: errors.UpstreamError) -> bool:
        """Remove a target and those that would fail for the same reason.

        Returns whether another target may do better.
        """
        self.targets = [target for target in self.targets if target is not failed]
        if isinstance(error, errors.ContextTooLong):
            limit = error.limit_tokens or failed.context_tokens
            self.targets = [target for target in self.targets if _may_exceed(target, limit)]
        elif not error.falls_over and not self._is_only_about_tools(failed, error):
            return False
        return bool(self.targets)

    def _is_only_about_tools(self, failed: Target, error: errors.UpstreamError) -> bool:
        """Whether a target rejected the tools of a request that another one may accept.

        What the requested model says about the tools themselves, such as an invalid schema, is final.
        """
        pattern = _TAKES_NO_TOOLS if failed is self._first else _ABOUT_TOOLS
        return type(error) is errors.Rejected and bool(pattern.search(error.detail))

    def healthy_fallbacks(self, target: Target) -> list[Target]:
        """Return the other targets whose breaker is closed."""
        others = (other for other in self.targets if other is not target)
        return [other for other in others if self._state.breaker(other).state is BreakerState.CLOSED]

    def can_continue(self, target: Target) -> bool:
        """Whether a target can continue a partial answer, as far as is known."""
        return target.continues and PREFILL not in self.refused(target)

    def refused(self, target: Target) -> frozenset[str]:
        """Return the parameters that a target does not accept, as far as is known."""
        own = self._refused.get(target.key, frozenset())
        return target.refused | own | self._state.recently_refused(target)

    def refuse(self, target: Target, parameter: str) -> None:
        """Send a parameter to a target no more."""
        self._refused[target.key] = self._refused.get(target.key, frozenset()) | {parameter}
        self._state.note_refused(target, parameter)

    def wait_s(self, target: Target) -> float:
        """How long until the target's breaker allows a call."""
        return self._state.breaker(target).wait_s

    @property
    def has_ready(self) -> bool:
        return any(self.wait_s(target) == 0 for target in self.targets)

    @property
    def shortest_wait_s(self) -> float | None:
        """How long until a breaker allows a call; None if all of them are held open."""
        wait_s = min(map(self.wait_s, self.targets))
        return None if wait_s == INFINITE_S else wait_s


def _may_exceed(target: Target, limit: int | None) -> bool:
    """Whether a target's context may be larger than this one; it may if either is unknown."""
    return limit is None or target.context_tokens is None or target.context_tokens > limit
