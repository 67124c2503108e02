"""A user's questions, the provider that answers them, and helpers of the tests of runs."""

from functools import partial

from chat import events
from chat.event_log.read import fold
from chat.models import Attempt, Conversation, Endpoint, Fallback, Generation, LoggedEvent, Model
from chat.models.api_request import ApiRequest


class Life:
    """A user's questions, the provider that answers them, and the runtime in between."""

    def __init__(self, user, provider, runtime):
        self.user, self.provider, self.runtime, self.questions = user, provider, runtime, 0
        self.runner, self.writer, self.log = runtime.runner, runtime.writer, runtime.log

    async def ask(self, text, **more):
        self.questions += 1
        verb = partial(Conversation.ask, self.user, text, client_id=f"id{self.questions}", **more)
        return await self.writer.arun(verb)

    async def run(self, generation_id, *, from_owner=""):
        """Run a generation to its end, if this process may."""
        task = self.runner.start(generation_id, from_owner=from_owner)
        if task is not None:
            await task

    async def stop(self, generation_id):
        """Request a stop, and carry it out here."""
        await self.writer.arun(lambda: Generation.request_stop(self.user, generation_id))
        self.runner.stop(generation_id)

    async def answer(self, text, **more):
        """Ask, run the answer to its end, return its row."""
        started = await self.ask(text, **more)
        await self.run(started.generation_id)
        return await self.row(started)

    async def row(self, started):
        rows = Generation.objects.select_related("message__conversation")
        return await rows.aget(pk=started.generation_id)


async def shown(life, generation_id, text):
    """Wait until this text is committed."""
    found = ""
    async for rows in life.log.follow(generation_id):
        found += fold(rows).text
        if found == text:
            return


async def orphan(life, *logged, question="orphan", **fields):
    """Return an answer as a process left it that died over its first call."""
    accepted = await life.ask(question)
    await Generation.objects.filter(pk=accepted.generation_id).aupdate(
        **({"owner": "dead", "epoch": 1, "status": "running", "calls": 1} | fields)
    )
    await Attempt.objects.acreate(
        generation_id=accepted.generation_id, number=1, model_name="fake", endpoint_name="fake"
    )
    for seq, event in enumerate(logged, 1):
        await LoggedEvent.objects.acreate(
            generation_id=accepted.generation_id, seq=seq, payload=events.encode(event).decode()
        )
    return accepted


async def add_fallback(provider, name="fake:second", confidentiality="", **fields):
    """Give the default model a fallback at another endpoint."""
    endpoint = await Endpoint.objects.acreate(
        name=f"at {name}", base_url=provider.base_url, confidentiality=confidentiality
    )
    model = await Model.objects.acreate(endpoint=endpoint, name=name, **fields)
    await Fallback.objects.acreate(model=await Model.objects.aget(is_default=True), fallback=model)
    return model


async def logged(generation_id, kind):
    """Return the events of one kind in a generation's log."""
    rows = LoggedEvent.objects.filter(generation_id=generation_id).order_by("seq")
    found = [events.decode(row.payload) async for row in rows]
    return [event for event in found if isinstance(event, kind)]


async def ask_once(life, model, *messages, **parameters):
    """Ask as a program does, run the answer to its end, return its row."""
    fallbacks = parameters.pop("fallbacks", None)
    request = ApiRequest(list(messages), parameters, fallbacks)
    verb = partial(Conversation.ask_once, life.user, request, model=model, client_id="once", source="api")
    accepted = await life.writer.arun(verb)
    await life.run(accepted.generation_id)
    return await life.row(accepted)
