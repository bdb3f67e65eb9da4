"""Read files that may be damaged in a process of their own, which may crash or hang without harm."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from worldmodel.datasets.workers import check_patience, end_with_parent, main_hidden
from worldmodel.errors import RecordingError, WorldModelError

T = TypeVar("T")


class ReaderDiedError(RecordingError):
    """What was read ended the process, or brought it to a stop."""


class Isolated:
    """Run one reading after another in a process of its own; when one ends that process, the next gets a new one.

    Used as a context manager; leaving it ends the process.

    Args:
        patience: longest time that a reading may go without yielding anything, s.

    Raises:
        WorldModelError: `patience` is not above 0, or not finite.
    """

    def __init__(self, *, patience: float) -> None:
        check_patience(patience)
        self._patience = patience
        self._process: BaseProcess | None = None
        self._connection: Any = None

    def run(self, reading: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Yield what `reading` (picklable) yields there; to be taken to its end before the next begins.

        Raises:
            ReaderDiedError: it crashed or hung.
            WorldModelError: it raised one.
        """
        self._start()
        try:
            self._connection.send(reading)
            while (message := self._receive())[0] == "yielded":
                yield message[1]
        except (EOFError, OSError) as error:
            raise ReaderDiedError(f"Reading it ended the reader's process ({self._stop()}).") from error
        except GeneratorExit:
            self._stop()
            raise
        if message[0] == "refused":
            raise RecordingError(message[1])
        if message[0] == "failed":
            raise ReaderDiedError(f"Reading it failed: {message[1]}.")

    def _receive(self) -> tuple[str, Any]:
        if not self._connection.poll(self._patience):
            self._stop()
            raise ReaderDiedError(f"Reading it hangs: nothing came for {self._patience:g} s.")
        message: tuple[str, Any] = self._connection.recv()
        return message

    def _start(self) -> None:
        if self._process is not None:
            return
        spawn = multiprocessing.get_context("spawn")  # a fork would share HDF5's state
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        with main_hidden():
            self._process.start()
        theirs.close()

    def _stop(self) -> str:
        """End the process; return how it ended, if it had already."""
        if self._process is None:
            return ""
        self._connection.close()  # upon which a process that is well ends
        self._process.join(1.0)
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        self._process = None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


def _serve(connection: Connection[Any, Any]) -> None:
    """Do readings until the parent is gone; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        try:
            reading = connection.recv()
        except EOFError:
            return
        try:
            for result in reading():
                connection.send(("yielded", result))
            connection.send(("done", None))
        except BrokenPipeError:
            return
        except WorldModelError as error:
            connection.send(("refused", str(error)))
        except Exception as error:  # whatever a library raises over a file nobody here wrote
            connection.send(("failed", f"{type(error).__name__}: {error}"))
