"""A live page to test, of a model that has learned next to nothing, and a client that speaks to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
client = pytest.importorskip("websockets.sync.client")

from worldmodel.viewing.find import Trained  # noqa: E402
from worldmodel.viewing.live.serve import LiveServer, ServeConfig  # noqa: E402

PATIENCE = 20.0  # s


class Client:
    """One viewer."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def send(self, **fields: Any) -> None:
        self.socket.send(json.dumps(fields))

    def wait(self, kind: str, holds: Callable[[dict[str, Any]], bool] = lambda message: True) -> dict[str, Any]:
        """Return the next message of a kind for which something holds; others are thrown away."""
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv(PATIENCE))
            if message["type"] == kind and holds(message):
                return message


@contextmanager
def serving(opened: Trained, config: ServeConfig) -> Iterator[LiveServer]:
    """Serve while the block runs."""
    server = LiveServer(config, trained=opened)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.wait_until_started(PATIENCE)
        yield server
    finally:
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(opened: Trained) -> Iterator[LiveServer]:
    """A page for this machine alone."""
    with serving(opened, ServeConfig(port=0)) as server:
        yield server


@pytest.fixture
def serve(opened: Trained) -> Callable[[ServeConfig], AbstractContextManager[LiveServer]]:
    """Serve as a configuration says, while a block runs."""
    return lambda config: serving(opened, config)


@pytest.fixture
def connect(server: LiveServer) -> Iterator[Callable[[], Client]]:
    """Connect a viewer who has said hello; all leave when the test ends."""
    with ExitStack() as stack:

        def make() -> Client:
            address = server.url.replace("http", "ws") + "live"
            socket = stack.enter_context(client.connect(address, max_size=2**24, close_timeout=0.2))
            socket.send('{"type": "hello", "token": ""}')
            return Client(socket)

        yield make


@pytest.fixture
def viewer(connect: Callable[[], Client]) -> Client:
    """One viewer, at the first frame of a held-out episode, nobody driving."""
    viewer = connect()
    world = viewer.wait("world")
    viewer.send(type="stop")
    viewer.send(
        type="settings",
        frames_per_second=60,
        look_every=0,
        horizon=2,
        samples=16,
        replan=True,
        factors={"light": 1.0, "hue": 0.0, "friction": 1.0},
    )
    viewer.send(type="pause", paused=False)
    viewer.send(type="begin-at", episode=world["held_out"][0], frame=0)
    viewer.wait("frame", lambda frame: frame["doing"] == "ready" and frame["since"] == 0)
    return viewer
