"""Hold back Ctrl-C while something must not be left half done, and take SIGTERM for one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_held() -> Iterator[list[int]]:
    """Hold back Ctrl-C and SIGTERM until the block is done; they then arrive.

    Yields:
        The numbers of the signals that came so far.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    handlers: dict[signal.Signals, Any] = {}
    try:
        for number in HELD:
            handlers[number] = signal.signal(number, lambda number, _: came.append(number))
        yield came
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for late in came:
            signal.raise_signal(late)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt upon SIGTERM, unless the program has a way of its own to take it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
