"""The baseline of `durability`: a minimal chat relay on Channels, Daphne and the OpenAI SDK.

It stores nothing and sends one frame per delta of the SDK's stream. `python -m benchmarks.relay` runs
it on the stock Daphne; RELAY_PORT and OPENAI_BASE_URL come from the environment.
"""

import asyncio
import json
import os
import sys

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter
from daphne.cli import CommandLineInterface
from django.conf import settings
from django.core.asgi import get_asgi_application
from openai import AsyncOpenAI

if not settings.configured:
    settings.configure(SECRET_KEY="none", ALLOWED_HOSTS=["*"], LOGGING={"version": 1})
    django.setup()

client = AsyncOpenAI(api_key="any", max_retries=0)


class Relay(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        question = json.loads(text_data)
        self.answering = asyncio.create_task(self.answer(question["text"]))

    async def answer(self, text):
        stream = await client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": text}], stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                delta = chunk.choices[0].delta.content
                await self.send(text_data=json.dumps({"type": "delta", "text": delta}))
        await self.send(text_data=json.dumps({"type": "completed"}))


application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": Relay.as_asgi()})

if __name__ == "__main__":
    port = os.environ["RELAY_PORT"]
    sys.exit(CommandLineInterface().run(["-v", "0", "-p", port, "benchmarks.relay:application"]))
