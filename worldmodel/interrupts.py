"""Hold back Ctrl-C while something must not be left half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM until the block is done; they then arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    try:
        for number in HELD:
            handlers[number] = signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for late in came:
            signal.raise_signal(late)
