"""Check whether a model can answer, what it accepts, how large its context is, and how fast it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from difflib import get_close_matches

from django.utils.translation import gettext as _

from chat import upstream
from chat.generation import routing
from chat.model_check import calls
from chat.model_check.calls import CallResult, call, target_for
from chat.model_check.report import CheckReport, FindingState
from chat.models.catalog import Model
from chat.upstream import errors
from chat.upstream.model_list import ListedModel, find_base_url, list_models
from chat.upstream.request_body import MAX_TOKENS_NAMES, PREFILL, SYSTEM, sent_parameters

DEFAULT_LIMIT_S = 90.0
# A list of models costs an endpoint nothing, so it is quick.
LIST_TIMEOUT_S = 10.0
# What a check finds out about; the row keeps what is known about other parameters.
CHECKED = frozenset({"temperature", *MAX_TOKENS_NAMES, SYSTEM, "stream_options"})

OK, REFUSED, FAILED, UNKNOWN = (
    FindingState.OK,
    FindingState.REFUSED,
    FindingState.FAILED,
    FindingState.UNKNOWN,
)


def check_model(model: Model, *, limit_s: float = DEFAULT_LIMIT_S) -> CheckReport:
    """Check a model within `limit_s` seconds, store what was found in its row, and return the report.

    Blocks; must not be called on an event loop. Makes at most ten chat requests, most of them one word long.
    """
    report = CheckReport(model.full_name)
    if model.endpoint.is_embedded:
        text = _("The demo model comes with this program and needs no check.")
        report.add(_("address"), UNKNOWN, text)
        return report
    asyncio.run(_check_within(model, report, limit_s))
    _save(model, report)
    return report


async def _check_within(model: Model, report: CheckReport, limit_s: float) -> None:
    route = await routing.find([model], None)
    client = upstream.Client()
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.to_thread(client.prepare)
            await _ModelCheck(model, route.targets[0], client, report, limit_s).run()
    except TimeoutError:
        text = _("The check was ended after %(limit)s s.") % {"limit": f"{limit_s:g}"}
        report.add(_("time"), FAILED if report.refused is None else UNKNOWN, text)
        if report.refused is None:
            report.code = report.code or errors.TooSlow.code
    finally:
        await client.close()


def _save(model: Model, report: CheckReport) -> None:
    if report.code or report.refused is None:
        return
    # One that the row knows of is kept unless this check has made a call with it.
    checked = CHECKED | ({PREFILL} if model.continuation != Model.Continuation.NONE else set())
    fresh = Model.objects.filter(pk=model.pk).first()
    if fresh is None:
        return
    kept = {name: detail for name, detail in fresh.refused_parameters.items() if name not in checked}
    fresh.refused_parameters = {**kept, **report.refused}
    fresh.context_tokens = report.context_tokens or fresh.context_tokens
    fresh.save(update_fields=["refused_parameters", "context_tokens"])
    if fresh.refused_parameters != model.refused_parameters:
        names = ", ".join(sorted(fresh.refused_parameters)) or _("none")
        report.written.append(_("refused parameters: %(names)s") % {"names": names})
    if fresh.context_tokens != model.context_tokens:
        report.written.append(_("context window: %(tokens)d tokens") % {"tokens": fresh.context_tokens or 0})


@dataclass(slots=True)
class _ModelCheck:
    """One check in progress."""

    model: Model
    target: upstream.Target
    client: upstream.Client
    report: CheckReport
    patience_s: float

    async def run(self) -> None:
        listed = await self._check_address()
        if self.report.code:
            return
        self._check_name(listed)
        answer = await self._check_answer()
        if self.report.code:
            return
        await self._check_parameters(answer)
        self._check_context(listed)
        self._check_speed(answer)

    # -- address, key and name: without a paid call --------------------------------------------------

    async def _check_address(self) -> list[ListedModel]:
        """Return the models that the endpoint lists; none if it has no list but may answer all the same."""
        base_url, api_key = self.target.base_url, self.target.api_key
        try:
            listed = await list_models(self.client, base_url, api_key, timeout_s=LIST_TIMEOUT_S)
        except (errors.WrongKey, errors.Forbidden) as exc:
            self.report.add(_("address"), OK, _("The endpoint answers."))
            self._fail(_("key"), exc)
            return []
        except errors.UpstreamError as exc:
            await self._propose_address(exc)
            return []
        self.report.add(_("address"), OK, _("The endpoint answers."))
        self.report.add(_("key"), OK, _("It is accepted.") if api_key else _("None is set or needed."))
        return listed

    async def _propose_address(self, error: errors.UpstreamError) -> None:
        found = await find_base_url(
            self.client, self.target.base_url, self.target.api_key, error, timeout_s=LIST_TIMEOUT_S
        )
        if found is not None:
            text = _("The base URL is wrong. The endpoint answers at another one:")
            self.report.add(_("address"), FAILED, text, found)
            self.report.code = errors.WrongAddress.code
        elif error.status is None and not isinstance(error, errors.WrongAddress):
            self._fail(_("address"), error)
        else:
            text = _("The endpoint has no list of models (%(detail)s).") % {"detail": error.detail}
            self.report.add(_("address"), UNKNOWN, text)

    def _check_name(self, listed: list[ListedModel]) -> None:
        names = [each.name for each in listed]
        if self._listed(listed) is not None:
            self.report.add(_("name"), OK, _("The endpoint lists this model."))
        elif names:
            text = _("The endpoint does not list this model. %(similar)s") % {
                "similar": _similar(self.model, names)
            }
            self.report.add(_("name"), UNKNOWN, text.strip())

    def _listed(self, listed: list[ListedModel]) -> ListedModel | None:
        return next((each for each in listed if each.name == self.model.name.removeprefix("models/")), None)

    # -- the streamed call ---------------------------------------------------------------------------

    async def _check_answer(self) -> CallResult:
        target = target_for(self.target, frozenset(), self.patience_s)
        answer = await call(target, calls.ANSWER, self.client, calls=calls.ANSWER_CALLS_MAX)
        error = answer.error
        if error is None or isinstance(error, errors.AnswerUnusable):
            pieces = _("%(count)d pieces of text arrived.") % {"count": answer.pieces}
            whole = _("The answer arrived in one piece.")
            self.report.add(_("streaming"), OK, pieces if answer.pieces > 1 else whole)
            self.report.refused = dict(answer.refused)
        elif isinstance(error, errors.UnknownModel):
            self._fail(_("name"), error)
        elif isinstance(error, errors.WrongKey | errors.Forbidden | errors.QuotaExhausted):
            self._fail(_("key"), error)
        elif isinstance(error, errors.WrongAddress | errors.Redirected | errors.Unreachable):
            self._fail(_("address"), error)
        else:
            self._fail(_("streaming"), error)
        return answer

    async def _check_parameters(self, answer: CallResult) -> None:
        for name in sorted(sent_parameters(self.target, calls.ANSWER, ()) - set(answer.refused)):
            self.report.add(name, OK, _("Accepted."))
        for name, detail in answer.refused.items():
            self.report.add(name, REFUSED, _in_other_form(name, detail))
        target = target_for(self.target, frozenset(answer.refused), self.patience_s)
        probes = {
            PREFILL: calls.prefill(self.model.continuation),
            "tools": calls.TOOLS,
            "images": calls.IMAGES,
        }
        for name, prompt in probes.items():
            result = await call(target, prompt, self.client)
            state, text = _verdict(result.error)
            self.report.add(name, state, text)
            is_used = self.model.continuation != Model.Continuation.NONE
            if name == PREFILL and state is REFUSED and is_used and self.report.refused is not None:
                self.report.refused[PREFILL] = result.error.detail if result.error else ""

    # -- what costs nothing more ---------------------------------------------------------------------

    def _check_context(self, listed: list[ListedModel]) -> None:
        found = self._listed(listed)
        if found is None or found.context_tokens is None:
            self.report.add(_("context"), UNKNOWN, _("The endpoint does not say."))
            return
        self.report.context_tokens = found.context_tokens
        self.report.add(_("context"), OK, _("%(tokens)d tokens") % {"tokens": found.context_tokens})

    def _check_speed(self, answer: CallResult) -> None:
        if answer.first_text_s is None:
            self.report.add(_("speed"), UNKNOWN, _("No text arrived."))
            return
        text = _("first text after %(first).2f s") % {"first": answer.first_text_s}
        tokens = answer.usage.completion_tokens if answer.usage is not None else None
        generating_s = answer.end_s - answer.first_text_s
        if tokens and answer.pieces > 1 and generating_s > 0:
            text += _(", %(rate).0f tokens/s") % {"rate": tokens / generating_s}
        self.report.add(_("speed"), OK, text)

    def _fail(self, subject: str, error: errors.UpstreamError) -> None:
        text = routing.describe(error, self.model, is_final=False)
        detail = f" ({error.detail})" if error.detail else ""
        self.report.add(subject, FAILED, text + detail)
        self.report.code = error.code


def _similar(model: Model, names: list[str]) -> str:
    by_lower = {name.lower(): name for name in reversed(names)}
    found = get_close_matches(model.name.lower(), by_lower, n=3, cutoff=0.5)
    if not found:
        return ""
    return _("Did you mean %(names)s?") % {"names": _(" or ").join(by_lower[name] for name in found)}


def _in_other_form(name: str, detail: str) -> str:
    if name in MAX_TOKENS_NAMES:
        other = next(each for each in MAX_TOKENS_NAMES if each != name)
        how = _("Sent as %(other)s.") % {"other": other}
    elif name == SYSTEM:
        how = _("Sent at the beginning of the first message.")
    else:
        how = _("Left out.")
    return f"{how} ({detail})" if detail else how


def _verdict(error: errors.UpstreamError | None) -> tuple[FindingState, str]:
    """Return whether a model that answers has accepted what one more call contained."""
    if error is None or isinstance(error, errors.AnswerUnusable):
        return OK, _("Accepted.")
    is_about_account = isinstance(error, errors.QuotaExhausted | errors.WrongKey)
    is_refused = isinstance(error, errors.Rejected) or error.status in (500, 501)
    if is_refused and not is_about_account:
        return REFUSED, error.detail
    return UNKNOWN, str(error)
