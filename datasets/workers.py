"""Processes that play episodes, and the watch over them: one that dies or hangs is told, never waited for."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from worldmodel.errors import RecordingError, WorldModelError

POLL = 0.01  # how often a worker without an episode asks for one, s

# Plays the episodes that it is given, in a process of its own: `(episodes, finished, beat) -> None`. It calls
# `finished(index, bytes)` after each episode and `beat()` whenever it has got on.
Job = Callable[[Iterator[int], Callable[[int, int], None], Callable[[], None]], None]


def check_patience(patience: float) -> None:
    """Refuse a time that nobody can wait for, s.

    Raises:
        WorldModelError: it is not above 0, or not finite.
    """
    if not 0 < patience < math.inf:
        raise WorldModelError(f"patience is {patience}; expected more than 0 seconds, and a finite number of them.")


@dataclass(frozen=True)
class _Failure:
    """Why a worker stopped."""

    error: str
    expected: bool


class Workers:
    """Hand out episodes to processes, in rising order, each to one.

    Used as a context manager; leaving it ends the processes at once: what they have not finished is worth nothing.

    Args:
        job: what each of them does; picklable.
        count: how many.
        done: episodes not to play again.
        patience: longest time without a sign of life, s.
    """

    def __init__(self, job: Job, *, count: int, done: frozenset[int], patience: float) -> None:
        spawn = multiprocessing.get_context("spawn")  # an OpenGL context does not survive a fork
        self._patience = patience
        self._next, self._limit = spawn.Value("q", 0), spawn.Value("q", 0)
        self._last_sign: Any = spawn.RawArray("d", [time.monotonic()] * count)
        self._processes: dict[Connection, BaseProcess] = {}
        self._number: dict[Connection, int] = {}
        try:
            for number in range(count):
                ours, theirs = spawn.Pipe(duplex=False)
                work = (job, number, done, self._next, self._limit, self._last_sign, theirs)
                process = spawn.Process(target=_work, args=work, daemon=True)
                with main_hidden():
                    process.start()
                theirs.close()
                self._processes[ours], self._number[ours] = process, number
        except BaseException:
            self._stop()
            raise

    def allow(self, episodes: int) -> None:
        """Let the workers play episodes with numbers below `episodes`."""
        self._limit.value = episodes

    def finished(self) -> Iterator[tuple[int, int]]:
        """Yield number and bytes of each episode as it is finished, as long as the caller asks.

        Raises:
            RecordingError: a worker died, hangs, or met an error that a user can mend.
        """
        while True:
            connections = list(self._processes)
            for connection in wait(connections, timeout=min(1.0, self._patience / 2)):
                yield self._receive(connection)  # type: ignore[arg-type]
            self._refuse_silence()

    def _receive(self, connection: Connection) -> tuple[int, int]:
        try:
            message: Any = connection.recv()
        except (EOFError, OSError):  # OSError: it died in the middle of a message
            process = self._processes[connection]
            process.join()
            raise RecordingError(
                f"A recording worker died (exit code {process.exitcode}). Finished episodes are kept: "
                "continue with --resume, with fewer --workers if memory was short."
            ) from None
        if isinstance(message, _Failure):
            raise (RecordingError if message.expected else RuntimeError)(message.error)
        index, size = message
        return int(index), int(size)

    def _refuse_silence(self) -> None:
        now = time.monotonic()
        for connection, number in self._number.items():
            silent = now - self._last_sign[number]
            if silent > self._patience and not connection.poll():
                raise RecordingError(
                    f"A recording worker gave no sign of life for {silent:.0f} s (process "
                    f"{self._processes[connection].pid}): its environment or policy hangs. Finished episodes are kept: "
                    "continue with --resume, with a longer --patience if a frame may take that long."
                )

    def _stop(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.join()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


@contextmanager
def main_hidden() -> Iterator[None]:
    """Keep a new process from importing the program's main module.

    Workers need nothing of it, and a script that records at its top level would record again in each of them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _work(
    job: Job,
    number: int,
    done: frozenset[int],
    next_episode: Any,
    limit: Any,
    last_sign: Any,
    connection: Any,
) -> None:
    """Play episodes until the process is ended; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=end_with_parent, daemon=True).start()

    def beat() -> None:
        last_sign[number] = time.monotonic()

    def episodes() -> Iterator[int]:
        while True:
            beat()
            with next_episode.get_lock():
                while next_episode.value in done:
                    next_episode.value += 1
                index = next_episode.value
                allowed = index < limit.value
                next_episode.value += allowed
            if allowed:
                yield index
            else:
                time.sleep(POLL)

    try:
        job(episodes(), lambda index, size: connection.send((index, size)), beat)
    except BrokenPipeError:
        return  # the parent is gone
    except WorldModelError as error:
        connection.send(_Failure(str(error), True))
    except Exception as error:
        connection.send(_Failure(f"{error}\n{traceback.format_exc()}", False))


def end_with_parent() -> None:
    """End this worker when its parent is gone, before another recorder writes the same episodes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
