"""One live session, shared by all viewers: a thread in which simulator and dream play, command by command."""

from __future__ import annotations

import threading
import time

import numpy as np

from worldmodel.errors import WorldModelError
from worldmodel.viewing.find import Trained
from worldmodel.viewing.live.commands import Command, Left
from worldmodel.viewing.live.messages import Publish, message
from worldmodel.viewing.live.play import Play
from worldmodel.viewing.live.stage import Stage
from worldmodel.viewing.live.waiting import Waiting

WAITING = 256  # commands that may wait; more are dropped
OBEY_SECONDS = 0.02  # longest time spent on commands between two frames


class Session:
    """Runs in a thread of its own, and rests while nobody watches.

    Args:
        trained: the run.
        publish: takes what viewers are told; called in the session's thread.
        seed: of new episodes and of wandering.

    Attributes:
        frames: dreamt since the start.
        failure: what ended the session, if it was an error.
    """

    def __init__(self, trained: Trained, *, publish: Publish, seed: int = 0) -> None:
        self._trained, self._publish = trained, publish
        self._rng = np.random.default_rng(seed)
        self._waiting = Waiting(WAITING)
        self._watching = 0
        self._stop = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live session", daemon=True)
        self.frames = 0
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the session and free the simulator."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the session to end."""
        self._over.wait()

    def submit(self, viewer: int, command: Command) -> bool:
        """Hand over a command; return False when too many wait, and it is dropped."""
        return self._waiting.put(viewer, command)

    def watch(self, viewers: int) -> None:
        """Tell how many watch."""
        self._watching = viewers

    def left(self, viewer: int) -> None:
        """Tell that a viewer has gone: what it asked for is still done, but then it drives no more."""
        self._waiting.put(viewer, Left())

    def _run(self) -> None:
        try:
            stage = Stage(self._trained.recording)
            try:
                self._live(
                    Play(
                        self._trained,
                        stage=stage,
                        publish=self._publish,
                        rng=self._rng,
                        called_off=lambda: self._stop.is_set() or self._waiting.calls_off,
                    )
                )
            finally:
                stage.close()
        except BaseException as error:
            self.failure = error
        finally:
            self._over.set()

    def _live(self, play: Play) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            self._obey(play, due)
            if self._watching != play.watching:
                play.watching = self._watching
                play.publish_frame()
            now = time.perf_counter()
            if self._watching == 0 or play.resting:
                play.rate = 0.0
                due = now + 0.05  # nothing moves; look for commands again then
            elif now >= due:
                pause = play.tick()
                self.frames = play.dreamt
                play.rate += 0.1 * (1 / max(time.perf_counter() - now, pause) - play.rate)
                due = max(due + pause, time.perf_counter() - pause)

    def _obey(self, play: Play, until: float) -> None:
        """Carry out commands until the next frame is due, but not for so long that it waits."""
        begun = time.perf_counter()
        while not self._stop.is_set():
            patience = min(max(until - time.perf_counter(), 0.0), 0.1)
            if time.perf_counter() - begun > OBEY_SECONDS and patience == 0:
                return
            entry = self._waiting.get(patience)
            if entry is None:
                return
            viewer, command = entry
            try:
                play.carry_out(command, viewer)
            except WorldModelError as error:
                self._publish("note", message("note", text=str(error)), viewer)
