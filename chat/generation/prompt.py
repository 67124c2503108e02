"""Build the prompt that a model is sent: the system prompt and the newest messages that fit its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from channels.db import database_sync_to_async
from django.utils.translation import gettext as _

from chat import upstream
from chat.errors import RequestRefused
from chat.generation import attached
from chat.generation.attached import NO_FILES, AttachedFile, AttachedFiles, Content
from chat.generation.budgets import answer_limit
from chat.generation.claim import Claimed, context_bound, history_of
from chat.generation.request_files import with_files
from chat.generation.turns import alternating, is_blank, without_refused
from chat.models.api_request import ApiRequest
from chat.models.catalog import Endpoint, Model
from chat.models.generation import Generation
from chat.models.large_request import LargeRequest
from chat.models.message import Message
from chat.text import text_of
from chat.upstream import Prompt, errors

# Bytes per token. English is nearer to four; an estimate that is too high only leaves out one more turn.
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8
# Old messages are left out this many at a time. The beginning of the prompt then stays the same for some
# turns, so that neither the model nor a provider's cache has to process all of it again.
LEFT_OUT_AT_ONCE = 8
# The share of the context that is kept free for the answer when the model has no output limit of its own.
ANSWER_SHARE = 0.25
# After a prompt was refused as too long: the share of it that is tried next if the endpoint names no size.
SMALLER_SHARE = 0.5
# Our token counts are estimates, so a size that the endpoint names is not used to its limit.
SAFETY_SHARE = 0.9
# The share of the prompt that the files of a project may take; the rest is for the conversation.
PROJECT_SHARE = 0.5

# What a model that makes pictures is asked for.
MODALITIES = ["image", "text"]
# For models that do not continue a partial answer by themselves.
CONTINUE_REQUEST = "Continue exactly where your last message ended. Do not repeat any of it."


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """A prompt that fits, and how many earlier messages were left out of it."""

    prompt: Prompt
    left_out: int
    # The estimated number of tokens in it.
    tokens: int
    # The number of tokens it was cut to after a refusal, or None.
    room: int | None = None
    # How many messages of the conversation are in it.
    sent: int = 0
    # What people should know about files of the question.
    file_notes: Sequence[str] = ()


def tokens_in(text: str) -> int:
    """Estimate how many tokens a message with this text takes."""
    return len(text.encode()) // BYTES_PER_TOKEN + TOKENS_PER_MESSAGE


def room_for_prompt(model: Model, context_tokens: int | None = None) -> int:
    """Return how many tokens of the context the prompt may take.

    `context_tokens`: the size of the context; None: as the model's row has it.
    """
    context_tokens = context_tokens or context_bound(model)
    answer = int(context_tokens * ANSWER_SHARE)
    if model.max_output_tokens is not None:
        answer = min(answer, model.max_output_tokens)
    return context_tokens - answer


def smaller_room(model: Model, tokens: int, refused: errors.ContextTooLong) -> int:
    """Return how many tokens to send after a prompt with `tokens` was refused as too long."""
    room = int(tokens * min(refused.fits or SMALLER_SHARE, 1.0) * SAFETY_SHARE)
    if refused.fits is None and refused.limit_tokens is not None:
        return min(room, room_for_prompt(model, refused.limit_tokens))
    return room


async def prompt_fitter(claimed: Claimed, models: Mapping[upstream.Target, Model]) -> PromptFitter:
    """Read what a run's prompts are made of, and return what builds them."""
    files = NO_FILES
    if claimed.generation.request is None:
        files = await attached.read_files(
            claimed.history, max(map(room_for_prompt, models.values()), default=0)
        )
    project_id = claimed.generation.message.conversation.project_id
    project = await attached.read_project(project_id) if claimed.project_tokens and project_id else []
    request, stored = claimed.generation.api_request, await stored_messages(claimed.generation)
    if request is not None:
        request, stored = await with_files(request, stored)
    return PromptFitter(claimed, models, stored, files, request, project)


async def stored_messages(generation: Generation) -> Sequence[bytes]:
    """Read the messages of a large request; not in the claim, which is a transaction of the writer."""
    request = generation.api_request
    if request is None or request.large is None:
        return []
    messages: list[bytes] = await database_sync_to_async(LargeRequest.messages_of)(generation.pk)
    return messages


class PromptFitter:
    """Builds the prompts of one run, for each model that it calls."""

    def __init__(
        self,
        claimed: Claimed,
        models: Mapping[upstream.Target, Model],
        stored_messages: Sequence[bytes] = (),
        files: AttachedFiles = NO_FILES,
        request: ApiRequest | None = None,
        project_files: Sequence[AttachedFile] = (),
    ) -> None:
        """`stored_messages`: the slices of a large request's messages. `files`: those of the history.

        `request`: the request of a program, with its files.
        """
        self._claimed = claimed
        self._project_files = project_files
        self._files = files
        self._stored_messages = stored_messages
        self._generation = claimed.generation
        self._request = request or claimed.generation.api_request
        self._models = models
        self._fitted: dict[upstream.Target, FittedPrompt] = {}

    def __call__(
        self,
        target: upstream.Target,
        *,
        partial: str,
        may_prefill: bool,
        refused: errors.ContextTooLong | None,
    ) -> Prompt | None:
        """Return the prompt for `target`; see `upstream.PromptBuilder`.

        After a refusal it is rebuilt once, smaller; then, or if nothing can be left out, return None.
        """
        previous = self._fitted.get(target)
        room = previous.room if previous is not None else None
        if refused is not None and previous is not None:
            has_one = previous.sent < 2 and not self._files
            if self._request is not None or room is not None or has_one:
                return None
            room = smaller_room(self._models[target], previous.tokens, refused)
        fitted = self._fitted[target] = self._fit(self._models[target], partial, may_prefill, room)
        self._generation.left_out = fitted.left_out
        self._generation.file_notes = list(fitted.file_notes) or None
        return fitted.prompt

    def _fit(self, model: Model, partial: str, may_prefill: bool, room: int | None) -> FittedPrompt:
        partial = self._generation.prefix + partial
        if self._request is not None:
            fitted = from_request(
                self._request,
                model,
                stored_messages=self._stored_messages,
                partial=partial,
                may_prefill=may_prefill,
            )
            return self._within_budget(fitted, model)
        conversation = self._generation.message.conversation
        fitted = fit(
            self._claimed.history,
            model,
            unread=self._claimed.unread,
            refused=self._claimed.refused,
            system_prompt=conversation.system_prompt,
            temperature=conversation.temperature,
            partial=partial,
            may_prefill=may_prefill,
            room=room,
            files=self._files,
            project_files=self._project_files,
        )
        return self._within_budget(fitted, model)

    def _within_budget(self, fitted: FittedPrompt, model: Model) -> FittedPrompt:
        """Limit the answer to what was reserved for it, if its user has a budget."""
        if self._claimed.hold is None:
            return fitted
        limit = answer_limit(self._request, model)
        return replace(fitted, prompt=replace(fitted.prompt, max_output_tokens=limit))


def fit(
    history: Sequence[Message],
    model: Model,
    *,
    unread: int = 0,
    refused: int = 0,
    system_prompt: str = "",
    temperature: float | None = None,
    partial: str = "",
    may_prefill: bool = True,
    room: int | None = None,
    files: AttachedFiles = NO_FILES,
    project_files: Sequence[AttachedFile] = (),
) -> FittedPrompt:
    """Build the prompt from `history` (oldest first, ending with the question); leave out what is too old.

    `unread`: how many messages lie before `history`; `refused`: how many refused questions were taken out of
    it. `partial`: the answer so far, to be continued in the way that the model's row names, unless the model
    refuses it (`may_prefill`). `room`: tokens to use instead of the model's own limit, after the endpoint
    refused a longer prompt. The question itself is always sent: the endpoint decides whether it fits.
    `files`: those of `history`; the documents of the question are cut to what fits. `project_files`: they
    take at most PROJECT_SHARE of what is available.
    """
    available = room_for_prompt(model) if room is None else room
    system = system_prompt or model.system_prompt
    notes: list[str] = []
    if project_files:
        system, notes = attached.with_project(system, project_files, int(available * PROJECT_SHARE), model)
    messages = [{"role": "system", "content": system}] if system else []
    ending, extra, prefill = _ending(model, partial, may_prefill)
    extra |= {"modalities": MODALITIES} if model.makes_images else {}
    used = sum(tokens_in(message["content"]) for message in (*messages, *ending))
    kept = _newest_messages(history, available - used)
    said = sum(not is_blank(message) for message in history[:-1]) + 1
    _leave_out_in_blocks(kept, unread + said - len(kept))
    # A conversation that is sent to a model starts with a user's turn.
    while len(kept) > 1 and kept[-1].role == Message.Role.ASSISTANT:
        kept.pop()
    contents, cuts = _contents(kept, files, model, available - used) if files else ({}, [])
    turns = alternating(reversed(kept), contents)
    used += sum(tokens_in(text_of(turn)) for turn in turns)
    left_out = unread + refused + said - len(kept)
    prompt = Prompt([*messages, *turns, *ending], temperature, extra, prefill)
    return FittedPrompt(prompt, left_out, used, room, sent=len(kept), file_notes=[*notes, *cuts])


def _contents(
    kept: Sequence[Message], files: AttachedFiles, model: Model, room: int
) -> tuple[dict[int, Content], list[str]]:
    """Return what is sent of the messages with files (`kept`: newest first), and notes on the question's."""
    question, *earlier = kept
    room -= sum(tokens_in(each.text) + each.attachment_tokens for each in earlier) + tokens_in(question.text)
    asked, notes = attached.cut_to(files.get(question.pk, ()), room, model)
    contents = attached.contents_of(question, asked, earlier, files, model)
    return contents, [*notes, *attached.notes_on(asked, model)]


def of_chat(generation: Generation, model: Model) -> FittedPrompt:
    """Build the prompt of an answer of the chat that no run gives: its provider answers it in a batch.

    Raises RequestRefused `no_files_later`: files would be read and copied in the writer's transaction.
    """
    history, unread = history_of(generation, [model])
    if any(message.attachment_tokens for message in history):
        text = _("A conversation with files cannot be answered later. Send the message without that choice.")
        raise RequestRefused("no_files_later", text)
    accepted = without_refused(history)
    conversation = generation.message.conversation
    return fit(
        accepted,
        model,
        unread=unread,
        refused=len(history) - len(accepted),
        system_prompt=conversation.system_prompt,
        temperature=conversation.temperature,
        project_files=attached.files_of_project(conversation.project_id),
    )


def _newest_messages(history: Sequence[Message], room: int) -> list[Message]:
    """Return the newest messages that fit into `room` tokens, newest first; the question always.

    Answers without text are skipped: one that failed, was stopped at once, or is only thoughts.
    """
    kept: list[Message] = []
    for message in reversed(history):
        if kept and is_blank(message):
            continue
        room -= tokens_in(message.text) + message.attachment_tokens
        if kept and room < 0:
            break
        kept.append(message)
    return kept


def _leave_out_in_blocks(kept: list[Message], left_out: int) -> None:
    """Leave out further messages (`kept`: newest first), up to a multiple of LEFT_OUT_AT_ONCE."""
    more = -left_out % LEFT_OUT_AT_ONCE if left_out else 0
    if more and more * 2 <= len(kept):  # never more than half of what fits
        del kept[-more:]


def tokens_of(request: ApiRequest) -> int:
    """Estimate how many tokens the messages of a program's request take."""
    if request.large is not None:
        return request.large.text_bytes // BYTES_PER_TOKEN + request.large.message_count * TOKENS_PER_MESSAGE
    return sum(tokens_in(text_of(message)) for message in request.messages)


def from_request(
    request: ApiRequest,
    model: Model,
    *,
    stored_messages: Sequence[bytes] = (),
    partial: str = "",
    may_prefill: bool = True,
) -> FittedPrompt:
    """Build the prompt from a program's request, complete and unchanged.

    `stored_messages`: the slices of a large request's messages. `partial`, `may_prefill`: see `fit`.
    """
    ending, extra, prefill = _ending(model, partial, may_prefill)
    messages = [*request.messages, *ending]
    is_passed = model.endpoint.extra_parameters == Endpoint.ExtraParameters.PASS
    parameters = {**(request.extras if is_passed else {}), **request.parameters, **extra}
    limit = parameters.pop("max_tokens", None)
    prompt = Prompt(
        messages,
        extra=parameters,
        prefill=prefill,
        max_output_tokens=limit,
        encoded=stored_messages,
    )
    tokens = tokens_of(request) + sum(tokens_in(text_of(message)) for message in ending)
    return FittedPrompt(prompt, 0, tokens)


def _ending(
    model: Model, partial: str, may_prefill: bool
) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Return the messages that ask for more of `partial`, additions to the body, and the prefill."""
    if not partial.strip():  # no server continues a blank turn
        return [], {}, ""
    last = {"role": "assistant", "content": partial}
    match model.continuation if may_prefill else Model.Continuation.NONE:
        case Model.Continuation.PLAIN:
            return [last], {}, partial
        case Model.Continuation.VLLM:
            return [last], {"continue_final_message": True, "add_generation_prompt": False}, partial
        case Model.Continuation.PREFIX:
            return [{**last, "prefix": True}], {}, partial
        case _:
            return [last, {"role": "user", "content": CONTINUE_REQUEST}], {}, ""
