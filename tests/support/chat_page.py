"""The chat page in tests: a server per module, a page per user, and common steps on that page."""

import json
import re
from itertools import count
from types import SimpleNamespace

import pytest

from tests.support.provider_control import control
from tests.support.services import PLAIN_HOST
from tests.support.serving import SIGN_IN, ProviderOfTest, Session, serving

USERS = 40
WORDS = " ".join(f"word{n}" for n in range(60))
HALF = re.compile("word23 wo")  # the end of what comes before the gate of `held_question`
SECOND_MODEL_IS_A_DEMO = (
    "from chat.models import Model\nModel.objects.filter(name='other').update(is_demo=True)\n"
)

_gates = (f"gate{n}" for n in count())


def held_question():
    """Return a question whose answer WORDS stops in the middle, and the gate that continues it."""
    gate = next(_gates)
    # Sixty deltas; after the twentieth the provider waits for the test.
    return f"[[hold={gate} after=20 chars=8]] [[text={WORDS}]]", gate


@pytest.fixture(scope="module")
def site(tmp_path_factory, prepared_data):
    """Return a server, its provider, and sessions of users without conversations."""
    with (
        ProviderOfTest.running() as provider,
        serving(tmp_path_factory.mktemp("site"), prepared_data) as serve,
    ):
        server = serve(
            provider.env_for_server
            | {
                "OPENAI_MODEL": "fake,other",
                "CHATSITE_ASKS_PER_MINUTE": "600",
                "CHATSITE_ALLOWED_HOSTS": f"127.0.0.1,{PLAIN_HOST}",
            }
        )
        sign_ins = [SIGN_IN.format(name=f"user{n}", is_staff=False) for n in range(USERS)]
        keys = server.query("".join([*sign_ins, SECOND_MODEL_IS_A_DEMO])).split()
        sessions = (Session(server.base_url, {"sessionid": key}) for key in keys)
        yield SimpleNamespace(server=server, provider=provider, sessions=sessions)


@pytest.fixture
def chat(page, site):
    """Return the empty chat page of a new user."""
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


class PageSockets:
    """The sockets between a page and the server, which a test can close, silence, refuse or rewrite.

    `frames`: all frames that the page sent. `on_server_frame(frame)` returns the frames to pass on to the
    page in place of one of the server's; None passes all on unchanged.
    """

    def __init__(self, page):
        self.is_down = False
        # Whether a new socket is closed at the page's first frame.
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
        connection = SimpleNamespace(route=route, is_silent=False)
        self._open.append(connection)
        server = route.connect_to_server()
        route.on_message(lambda text: self._from_page(connection, server, text))
        server.on_message(lambda text: self._from_server(connection, text))

    def _from_page(self, connection, server, text):
        frame = json.loads(text)
        self.frames.append(frame)
        if not connection.is_silent:
            server.send(json.dumps(self.on_page_frame(frame)) if self.on_page_frame else text)

    def _from_server(self, connection, text):
        if connection.is_silent:
            return
        self.pongs += '"pong"' in text
        frames = [text]
        if self.on_server_frame:
            frames = map(json.dumps, self.on_server_frame(json.loads(text)))
        for frame in frames:
            connection.route.send(frame)

    def send_to_page(self, *frames):
        """Send frames to the page as if they came from the server."""
        for frame in frames:
            self._open[-1].route.send(json.dumps(frame))

    def cut(self, code=1001):
        """Close all open sockets; while `is_down` is set, no new one opens."""
        for connection in self._open:
            connection.is_silent = True
            connection.route.close(code=code)
        self._open.clear()

    def go_silent(self):
        """Make open sockets half-open: frames are lost in both directions, without a close."""
        for connection in self._open:
            connection.is_silent = True

    @property
    def opened(self):
        return len(self._open)

    def sent(self, type_):
        return [frame for frame in self.frames if frame["type"] == type_]


def requests_with(provider, words):
    """Return how many requests to the provider have these words in their question."""
    return sum(words in line for line in control(provider, "requests").split('"question"'))
