"""The errors that a user can mend. The command line prints them as one paragraph and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorldModelError(Exception):
    """Something outside the code is wrong: the message names the value, what was expected, and the remedy."""


class RecordingError(WorldModelError):
    """A recording is missing, foreign, damaged, or does not fit its use."""


class CheckpointError(WorldModelError):
    """A trained run is missing, damaged, or has another shape than its configuration says."""


class RendererError(WorldModelError):
    """No OpenGL context can be made, or it cannot draw what was asked for."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> WorldModelError:
    """Return the error for a name that no registry entry has, with the nearest valid ones first."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return WorldModelError(f"Unknown {kind} '{name}'.{hint} Valid: {', '.join(names)}.")
