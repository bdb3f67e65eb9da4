"""Reading back the report of a command."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from worldmodel.config import from_json
from worldmodel.errors import WorldModelError

Report = TypeVar("Report")


def read_report(kind: type[Report], path: Path, *, of: str, made_by: str) -> Report:
    """Read a report from JSON.

    Args:
        kind: the report's dataclass.
        of: what it reports, in words.
        made_by: the command that makes it.

    Raises:
        WorldModelError: there is no such file, or it is no such report.
    """
    try:
        return from_json(kind, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorldModelError(
            f"'{path}' is no report of {of} ({error}). Expected a report.json of: {made_by}"
        ) from error
