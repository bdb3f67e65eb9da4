"""The viewers of a live session: what each has yet to be told, and how much each may say."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

RETAINED = ("world", "settings", "goal", "frame")  # kinds that whoever comes later needs, too


@dataclass(frozen=True)
class ViewerConfig:
    """What a viewer may do.

    Attributes:
        messages_per_second: that are heeded, in the long run; more are dropped.
        burst: messages that are heeded at once.
        mistakes: messages that are nonsense or too many, after which the connection is closed.
        viewers: the most that may watch.
        greeting_seconds: time in which a new connection must show its token, s.
    """

    messages_per_second: float = 60.0
    burst: float = 120.0
    mistakes: int = 1000
    viewers: int = 16
    greeting_seconds: float = 5.0


class Allowance:
    """A bucket of tokens: one for each message, refilled at a steady rate."""

    def __init__(self, config: ViewerConfig) -> None:
        self._config = config
        self._left, self._then = config.burst, time.monotonic()

    def spend(self) -> bool:
        """Take a token; return False where none is left."""
        now = time.monotonic()
        self._left = min(self._config.burst, self._left + (now - self._then) * self._config.messages_per_second)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(eq=False)
class Viewer:
    """One connection. Of each kind of message only the newest waits, so a slow viewer costs no memory.

    Attributes:
        number: by which the session knows it.
        waiting: messages by kind, in the order in which they are to be sent.
        news: set when there are some.
    """

    number: int
    waiting: dict[str, str] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, kind: str, text: str) -> None:
        self.waiting[kind] = text
        self.news.set()

    async def next_message(self) -> str:
        """Wait for a message and return it."""
        while not self.waiting:
            self.news.clear()
            await self.news.wait()
        return self.waiting.pop(next(iter(self.waiting)))


class Hub:
    """All viewers. It lives in the server's event loop; only `publish` may be called from another thread."""

    def __init__(self, config: ViewerConfig) -> None:
        self.config = config
        self._viewers: dict[int, Viewer] = {}
        self._retained: dict[str, str] = {}
        self._numbers = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._viewers)

    @property
    def full(self) -> bool:
        return len(self) >= self.config.viewers

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver in this event loop from now on."""
        self._loop = loop

    def publish(self, kind: str, text: str, viewer: int | None = None) -> None:
        """Tell all viewers, or one; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, kind, text, viewer)

    def join(self) -> Viewer:
        """Take in a viewer, who is told at once what has been retained."""
        self._numbers += 1
        viewer = Viewer(self._numbers)
        for kind in RETAINED:
            if kind in self._retained:
                viewer.tell(kind, self._retained[kind])
        self._viewers[viewer.number] = viewer
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        self._viewers.pop(viewer.number, None)

    def _deliver(self, kind: str, text: str, viewer: int | None) -> None:
        if viewer is None:
            if kind in RETAINED:
                self._retained[kind] = text
            for each in self._viewers.values():
                each.tell(kind, text)
        elif viewer in self._viewers:
            self._viewers[viewer].tell(kind, text)
