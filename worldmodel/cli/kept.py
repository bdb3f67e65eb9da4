"""What earlier commands have made: open it, tell whether it is what would be made now, and make room for more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldmodel.config import flat, to_json
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.training.checkpoint import newest, read_card
from worldmodel.viewing.find import find_recording

CONFIG, REPORT = "config.json", "report.json"


def open_recording(run: Path, recording: Path | None) -> Recording:
    """Open the recording in a folder or, where none is named, find the one that a run was trained on.

    Raises:
        WorldModelError: there is no such recording, or it is not found; or the run has no model that tells of it.
    """
    return Recording.open(recording or find_recording(run, read_card(newest(run)).interface))


def begin_report(folder: Path, config: Any) -> None:
    """Write the configuration of a report that will be written into a folder; an earlier one there is removed first."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).unlink(missing_ok=True)
    (folder / CONFIG).write_text(to_json(config), encoding="utf-8")


def is_made(report: Path, config: Any) -> bool:
    """Return whether a report is there, made with this configuration."""
    beside = report.with_name(CONFIG)
    return report.exists() and beside.exists() and beside.read_text(encoding="utf-8") == to_json(config)


def differences(folder: Path, config: Any) -> list[str]:
    """Return, by field, how the configuration that a folder holds differs from `config`; none where it holds none."""
    path = folder / CONFIG
    return list(_differences(path.read_text(encoding="utf-8"), to_json(config))) if path.exists() else []


def refuse_other_settings(folder: Path, config: Any) -> None:
    """Refuse a folder with a recording or a run that was made with other settings.

    Raises:
        WorldModelError: names the settings that differ.
    """
    differing = differences(folder, config)
    if differing:
        raise WorldModelError(
            f"'{folder}' was made with other settings: {'; '.join(differing)}. Repeat the command with the settings "
            "of then, or choose another --out: what is there is kept."
        )


def one_process_only(what: str) -> None:
    """Refuse to be one of several processes that torchrun started."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise WorldModelError(f"{what} runs in one process. Start it without torchrun.")


def _differences(held: str, asked: str) -> Iterator[str]:
    try:
        there = dict(flat(json.loads(held)))
    except (ValueError, AttributeError):
        yield f"its {CONFIG} cannot be read"
        return
    here = dict(flat(json.loads(asked)))
    for name in sorted(there.keys() | here.keys()):
        told = [repr(values[name]) if name in values else "unknown" for values in (there, here)]
        if told[0] != told[1]:
            yield f"{name} was {told[0]}, is now {told[1]}"
