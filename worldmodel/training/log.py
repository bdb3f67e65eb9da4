"""Write numbers and pictures of a run: TensorBoard for people, JSON lines for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from worldmodel.datasets.disk import write_whole

LOG = "log.jsonl"  # in the folder of a run: one JSON object a line
FINDINGS = "findings.jsonl"  # likewise: one for each command that told something of the run when training had ended
BOARD = "tensorboard"  # likewise: a folder


class RunLog:
    """The log of a run, in `<run>/tensorboard/` and `<run>/log.jsonl`.

    Args:
        run: folder of the run.
        step: the last one that was saved, where a run goes on; later entries are dropped, and hidden in TensorBoard.
    """

    def __init__(self, run: Path, step: int = 0) -> None:
        run.mkdir(parents=True, exist_ok=True)
        _drop_lines_after(run / LOG, step)
        self._lines = (run / LOG).open("a", encoding="utf-8")
        self._board: Any = SummaryWriter(str(run / BOARD), purge_step=step + 1)

    def entry(self, step: int, scalars: dict[str, float], spectra: dict[str, NDArray[np.float32]]) -> None:
        """Log numbers by tag, such as `train/forecast`, and rows of numbers, such as `latent/spectrum`."""
        for tag, value in scalars.items():
            self._board.add_scalar(tag, value, step)
        for tag, values in spectra.items():
            self._board.add_histogram(tag, values, step)
        rounded: dict[str, float | list[float]] = {tag: round(value, 6) for tag, value in scalars.items()}
        rounded |= {tag: [round(value, 6) for value in values.tolist()] for tag, values in spectra.items()}
        self._lines.write(json.dumps({"step": step, **rounded}) + "\n")
        self._lines.flush()

    def picture(self, step: int, tag: str, image: NDArray[np.uint8]) -> None:
        """Log an image `[H, W, 3]` uint8; it is on the disk when this returns."""
        self._board.add_image(tag, image, step, dataformats="HWC")
        self._board.flush()

    def embedding(self, step: int, tag: str, latents: NDArray[np.float32], thumbnails: NDArray[np.uint8]) -> None:
        """Log latents `[N, D]` for TensorBoard's projector, each shown as its frame `[N, H, W, 3]`."""
        pictures = torch.from_numpy(thumbnails).permute(0, 3, 1, 2) / 255
        self._board.add_embedding(latents, label_img=pictures, global_step=step, tag=tag)

    def close(self) -> None:
        self._board.close()
        self._lines.close()


def log_findings(run: Path, name: str, step: int, values: dict[str, float]) -> None:
    """Add numbers by tag, told of a run when its training had ended, to its TensorBoard and `<run>/findings.jsonl`.

    Args:
        name: of what told them; what it told before is replaced.
        step: at which training ended.
    """
    old = list((run / BOARD).glob(f"events.*.{name}"))
    board: Any = SummaryWriter(str(run / BOARD), filename_suffix=f".{name}")
    for tag, value in values.items():
        board.add_scalar(tag, value, step)
    board.close()
    for path in old:
        path.unlink()
    found = run / FINDINGS
    lines = found.read_bytes().splitlines(keepends=True) if found.exists() else []
    others = [line for line in lines if (entry := _read_entry(line)) and entry.get("name") != name]
    told = f"{json.dumps({'step': step, 'name': name, **values})}\n"
    write_whole(found, b"".join([*others, told.encode()]))


def read_scalars(run: Path) -> list[dict[str, float]]:
    """Return the numbers of each entry in a run's log by tag, and its `step`; rows of numbers are left out.

    So are lines that cannot be read.
    """
    entries = map(_read_entry, (run / LOG).read_bytes().splitlines())
    return [{tag: value for tag, value in entry.items() if not isinstance(value, list)} for entry in entries if entry]


def _drop_lines_after(path: Path, step: int) -> None:
    """Drop what a kill or a full disk left unfinished or damaged, and what the run that goes on will log again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        entry = _read_entry(line)
        if line.endswith(b"\n") and entry and entry["step"] <= step:
            kept.append(line)
    write_whole(path, b"".join(kept))


def _read_entry(line: bytes) -> dict[str, Any] | None:
    """Return an entry of the log; None where its line is unfinished or damaged: no run is given up for that."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None
