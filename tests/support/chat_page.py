"""The chat page for tests: a server that a module's tests share, a page per person, what people do on it."""

import json
import re
from itertools import count
from types import SimpleNamespace

import pytest

from tests.support.provider_control import control
from tests.support.serving import SIGN_IN, Provider, Server, Session

PEOPLE = 40
WORDS = " ".join(f"word{n}" for n in range(60))
HALF = re.compile(r"word16\b|word17")
SECOND_MODEL_IS_A_DEMO = (
    "from chat.models import Model\nModel.objects.filter(name='other').update(is_demo=True)\n"
)

_gates = (f"gate{n}" for n in count())


def held_question():
    """Return a question whose answer WORDS stops in the middle, and the gate that lets it go on."""
    gate = next(_gates)
    # Sixty deltas of the text above; after the twentieth the provider waits for the test.
    return f"[[hold={gate} after=20 chars=8]] [[text={WORDS}]]", gate


@pytest.fixture(scope="module")
def site(tmp_path_factory, prepared_data):
    """Return a server, its provider, and signed-in sessions of people who have nothing yet."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "provider" / "data").mkdir(parents=True)
    provider = Provider(folder / "provider", ())
    server = None
    try:
        provider.start()
        env = provider.env_for_server | {"OPENAI_MODEL": "fake,other", "CHATSITE_ASKS_PER_MINUTE": "600"}
        server = Server(folder, env, ())
        server.start()
        made = [SIGN_IN.format(name=f"person{n}", is_staff=False) for n in range(PEOPLE)]
        keys = server.shell("".join([*made, SECOND_MODEL_IS_A_DEMO])).split()
        sessions = (Session(server.base_url, {"sessionid": key}) for key in keys)
        yield SimpleNamespace(server=server, provider=provider, sessions=sessions)
    finally:
        if server:
            server.stop()
        provider.stop()


@pytest.fixture
def chat(page, site):
    """Return the empty chat page of a person of its own."""
    next(site.sessions).enter(page.context)
    page.goto(site.server.base_url)
    return page


def composer(page):
    return page.get_by_role("textbox", name="Message", exact=True)


def send(page, text):
    composer(page).fill(text)
    composer(page).press("Enter")


def last_answer(page):
    return page.locator("article.answer").last.locator(".prose")


def wait_until_final(page):
    page.wait_for_selector(".dock:not(.is-running)")
    page.wait_for_selector("article.answer:last-of-type .footer", timeout=30_000)


class Wire:
    """The sockets of one page, between it and the server: cut, deaf, refused, or with other frames.

    `frames` are what the page has said. `on_server_frame(frame)` returns the frames that the page gets for
    one of the server's; None passes all on as they are.
    """

    def __init__(self, page):
        self.is_down = False
        # Whether what is opened is closed again at the page's first word.
        self.is_dropping = False
        self.pongs = 0
        self.on_server_frame = None
        self.on_page_frame = None
        self.connections = 0
        self.frames = []
        self._open = []
        page.route_web_socket(re.compile("/ws/"), self._connected)

    def _connected(self, route):
        self.connections += 1
        if self.is_down:
            route.close(code=1001)
            return
        if self.is_dropping:
            route.on_message(lambda _text: route.close(code=1011))
            return
        wire = SimpleNamespace(route=route, is_deaf=False)
        self._open.append(wire)
        server = route.connect_to_server()
        route.on_message(lambda text: self._from_page(wire, server, text))
        server.on_message(lambda text: self._from_server(wire, text))

    def _from_page(self, wire, server, text):
        frame = json.loads(text)
        self.frames.append(frame)
        if not wire.is_deaf:
            server.send(json.dumps(self.on_page_frame(frame)) if self.on_page_frame else text)

    def _from_server(self, wire, text):
        if wire.is_deaf:
            return
        self.pongs += '"pong"' in text
        frames = [text]
        if self.on_server_frame:
            frames = map(json.dumps, self.on_server_frame(json.loads(text)))
        for frame in frames:
            wire.route.send(frame)

    def tell(self, *frames):
        """Say something in the server's place."""
        for frame in frames:
            self._open[-1].route.send(json.dumps(frame))

    def cut(self, code=1001):
        """Close what is open, and while `is_down` let nothing be opened."""
        for wire in self._open:
            wire.is_deaf = True
            wire.route.close(code=code)
        self._open.clear()

    def fall_silent(self):
        """Make what is open half-open: nothing arrives any more, and nobody says so."""
        for wire in self._open:
            wire.is_deaf = True

    @property
    def opened(self):
        return len(self._open)

    def said(self, type_):
        return [frame for frame in self.frames if frame["type"] == type_]


def asked(provider, words):
    """Return how often the provider was asked something with these words in it."""
    return sum(words in line for line in control(provider, "requests").split('"question"'))
