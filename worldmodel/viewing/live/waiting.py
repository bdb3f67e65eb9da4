"""The commands that wait for a live session, in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque

from worldmodel.viewing.live.commands import Begin, BeginAt, Command, Left, PlanAndAct, Stop

Entry = tuple[int, Command | Left]


class Waiting:
    """A queue, filled and emptied from any thread. A search takes seconds, so nobody should wait for needless ones:
    of plans only the newest waits, and a stop takes the place of the plans and stops before it.

    Args:
        room: commands that may wait. A stop always finds room, and so does the news that a viewer has gone.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: deque[Entry] = deque()
        self._filled = threading.Condition()

    def put(self, viewer: int, command: Command | Left) -> bool:
        """Let a command wait; return False when too many do, and it is dropped."""
        with self._filled:
            if isinstance(command, PlanAndAct | Stop):
                void = PlanAndAct if isinstance(command, PlanAndAct) else PlanAndAct | Stop
                self._entries = deque(entry for entry in self._entries if not isinstance(entry[1], void))
            if len(self._entries) >= self._room and not isinstance(command, Stop | Left):
                return False
            self._entries.append((viewer, command))
            self._filled.notify()
        return True

    @property
    def calls_off(self) -> bool:
        """Whether a command waits that ends a search, or begins another."""
        with self._filled:
            return any(isinstance(entry[1], PlanAndAct | Stop | Begin | BeginAt) for entry in self._entries)

    def get(self, seconds: float) -> Entry | None:
        """Return who wants what next; None when nobody wants anything for so long."""
        with self._filled:
            if not self._filled.wait_for(lambda: self._entries, seconds):
                return None
            return self._entries.popleft()
