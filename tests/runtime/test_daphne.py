"""Every name of Daphne, Twisted and Autobahn that our server uses without their promise to keep it.

If a test here fails after an upgrade, compare the new version with chat/runtime/asgi_server before you raise
the bound in pyproject.toml.
"""

import ast
import inspect
import socket
from contextlib import closing
from pathlib import Path

import pytest

import chat.runtime.asgi_server as package

from daphne.http_protocol import HTTPFactory, WebRequest  # isort: skip  (the package installs the reactor)
from daphne.server import Server  # isort: skip
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol  # isort: skip
from twisted.internet import reactor  # isort: skip
from twisted.internet.tcp import Connection  # isort: skip
from twisted.web.http import HTTPChannel  # isort: skip
from twisted.web.test.requesthelper import DummyChannel  # isort: skip

# Private attributes: the object that has them, and where the code finds it.
PRIVATE = {
    "_asyncioEventloop": lambda: reactor,
    "_response_started": lambda: request(),
    "_tempDataBuffer": lambda: transport(),
    "_maybeChooseTransferDecoder": lambda: HTTPChannel(),
}
# Private attributes of Twisted's channel that our subclass uses or replaces.
PRIVATE_OF_CHANNEL = {
    *("_respondToBadRequestAndDisconnect", "_failChooseTransferDecoder", "_maybeChooseTransferDecoder"),
    *("_dataBuffer", "_savedTimeOut", "_receivedHeaderSize", "_receivedHeaderCount"),
    *("_networkProducer", "_path", "_command", "_version"),
}
# Public attributes that no documentation promises.
UNDOCUMENTED = [
    *((Server, name) for name in ("create_application", "handle_reply", "protocol_disconnected")),
    *((Server, name) for name in ("application_checker", "timeout_checker", "check_headers_type")),
    *((WebRequest, name) for name in ("basic_error", "handle_exception", "check_timeouts")),
    *((WebSocketProtocol, name) for name in ("handle_exception", "check_timeouts", "sendCloseFrame")),
    (WebSocketProtocol, "STATE_OPEN"),
    *((Connection, name) for name in ("writeSomeData", "abortConnection", "dataBuffer", "disconnecting")),
    *((Connection, name) for name in ("connected", "registerProducer", "unregisterProducer")),
    *((HTTPChannel, name) for name in ("persistent", "registerProducer", "unregisterProducer")),
    *((HTTPChannel, name) for name in ("maxHeaders", "totalHeadersSize", "line_mode", "length", "timeOut")),
    *((HTTPChannel, name) for name in ("dataReceived", "lineReceived", "lineLengthExceeded")),
    *((HTTPChannel, name) for name in ("rawDataReceived", "allHeadersReceived", "allContentReceived")),
    *((HTTPChannel, name) for name in ("requestDone", "resetTimeout", "setTimeout", "timeoutConnection")),
    *((WebRequest, name) for name in ("parseCookies", "handleContentChunk", "requestReceived", "process")),
    *((HTTPFactory, name) for name in ("protocol", "log", "timeOut")),
    *((Connection, name) for name in ("loseWriteConnection",)),
    *((reactor, name) for name in ("adoptStreamPort", "getWriters", "callWhenRunning", "callLater")),
]
# What `Server.__init__` keeps of its arguments, and what the two factories are made of.
ARGUMENTS = [
    (Server, {"endpoints", "websocket_max_message_size", "websocket_max_frame_size", "server_name"}),
    (HTTPFactory, {"server"}),
    (WebSocketFactory, {"server_class"}),
    (
        WebSocketFactory.setProtocolOptions,
        {"autoPingTimeout", "allowNullOrigin", "openHandshakeTimeout", "maxMessagePayloadSize"}
        | {"maxFramePayloadSize"},
    ),
]
KEPT = ["ping_timeout", "websocket_handshake_timeout", "application_close_timeout", "server_name"]
ADVICE = "chat/runtime/asgi_server relies on it. Compare the new version before you raise the bound."


def transport():
    with closing(socket.socket()) as unconnected:
        return Connection(unconnected, None, reactor)


def request():
    channel = DummyChannel()
    channel.factory = HTTPFactory(Server(None, endpoints=["none"]))
    channel.factory.server.connections = {}
    return WebRequest(channel)


def private_names():
    """Return the private attributes in our code of foreign objects."""
    found = set()
    for path in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name("self" | "os")):  # `os._exit` is documented
                    pass
                case ast.Attribute(attr=name) if name.startswith("_") and not name.startswith("__"):
                    found.add(name)
    return found


def test_every_private_name_that_is_used_is_listed_here():
    assert private_names() == set(PRIVATE)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_exists(name):
    owner = PRIVATE[name]()
    assert hasattr(owner, name), f"{type(owner).__name__}.{name} is gone. {ADVICE}"


@pytest.mark.parametrize("name", sorted(PRIVATE_OF_CHANNEL))
def test_a_private_name_of_the_channel_is_still_used(name):
    assert name in inspect.getsource(HTTPChannel), f"HTTPChannel.{name} is gone. {ADVICE}"


@pytest.mark.parametrize(("owner", "name"), UNDOCUMENTED)
def test_an_undocumented_name_exists(owner, name):
    assert hasattr(owner, name), f"{owner}.{name} is gone. {ADVICE}"


@pytest.mark.parametrize(("callable_", "names"), ARGUMENTS)
def test_an_argument_exists(callable_, names):
    missing = names - set(inspect.signature(callable_).parameters)
    assert not missing, f"{callable_} no longer takes {missing}. {ADVICE}"


@pytest.mark.parametrize("name", KEPT)
def test_daphne_keeps_an_option_that_our_server_reads(name):
    server = Server(None, endpoints=["none"])
    assert hasattr(server, name), f"Server.{name} is gone. {ADVICE}"


def test_the_details_of_a_connection_have_the_keys_that_the_reaper_reads():
    source = inspect.getsource(Server)
    for key in ("application_instance", "disconnected"):
        assert f'"{key}"' in source, f"Daphne no longer keeps {key!r} of a connection. {ADVICE}"
