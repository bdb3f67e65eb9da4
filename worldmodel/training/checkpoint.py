"""Save and load what was trained: safetensors for numbers, JSON for the rest, never pickle.

    <run>/checkpoints/<steps>/model.safetensors      weights
                              training.safetensors   what training needs to go on: optimiser, objective, average
                              checkpoint.json        configuration, interface, where training stands, its precision

A checkpoint folder is written under another name, synced, and renamed: one with a plain number is whole.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldmodel.config import from_json, to_json
from worldmodel.datasets.disk import sync
from worldmodel.errors import CheckpointError
from worldmodel.interrupts import signals_held
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel, WorldModelConfig

Tensors = dict[str, Tensor]

FOLDER = "checkpoints"
REPLACED = ".replaced"  # of a checkpoint that another of the same number takes the place of
KEPT = 2  # the newest, and one before it


@dataclass(frozen=True)
class Position:
    """Where training stands.

    Attributes:
        stage: name of the stage.
        step: steps done in it.
        progress: share of it that is done; at 1 the stage is finished.
        total: steps done in all stages.
        stage_seconds: wall-clock time spent in the stage so far, s.
        seconds: the same in all stages, s.
        finished: whether there is nothing left to train.
    """

    stage: str
    step: int
    progress: float
    total: int
    stage_seconds: float
    seconds: float
    finished: bool = False


@dataclass(frozen=True)
class Card:
    """The contents of `checkpoint.json`.

    Attributes:
        bf16: whether the run trains in bfloat16.
    """

    config: WorldModelConfig
    interface: Interface
    position: Position
    bf16: bool


def save_checkpoint(run: Path, model: WorldModel, training: Tensors, position: Position, *, bf16: bool) -> None:
    """Write a run's checkpoint number `position.total`, then drop those older than the last two.

    Args:
        training: state of what trains the model, by name.
        bf16: whether the run trains in bfloat16.
    """
    folder = run / FOLDER
    partial, final = folder / f"{position.total:08d}.partial", folder / f"{position.total:08d}"
    aside = folder / f"{position.total:08d}{REPLACED}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, tensors in (("model", model.state_dict()), ("training", training)):
            save_file({key: value.contiguous() for key, value in tensors.items()}, partial / f"{name}.safetensors")
        (partial / "checkpoint.json").write_text(to_json(Card(model.config, model.interface, position, bf16)))
        for path in (*partial.iterdir(), partial):
            sync(path)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"Checkpoint '{final}' cannot be written: {error}. Free space, then start the same command again; the "
            "checkpoint before it is kept."
        ) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    with signals_held():
        if final.exists():  # the same step again, such as after Ctrl-C: `aside` counts until the new one is there
            shutil.rmtree(aside, ignore_errors=True)
            final.rename(aside)
        partial.rename(final)
        sync(folder)
    shutil.rmtree(aside, ignore_errors=True)
    for old in _finished(run)[:-KEPT]:
        shutil.rmtree(old)


def has_checkpoint(run: Path) -> bool:
    """Return whether a run has a whole checkpoint."""
    return bool(_finished(run))


def load_model(run: str | Path, device: torch.device | None = None) -> WorldModel:
    """Load the world model of a finished run, ready to use.

    Raises:
        CheckpointError: the run has no checkpoint, or it is damaged or of another shape; or it is not finished: its
            latents may not be whitened, what planners begin with not be learned, its decoder not be trained.
    """
    folder = newest(Path(run))
    card = read_card(folder)
    if not card.position.finished:
        raise CheckpointError(
            f"The run '{run}' is not finished: it stopped in stage '{card.position.stage}' at step "
            f"{card.position.step}. Finish it with the command that began it: worldmodel train RECORDING --out RUN"
        )
    model = WorldModel(card.config, interface=card.interface)
    load_weights(folder, model)
    return model.to(device or torch.device("cpu")).eval()


def newest(run: Path) -> Path:
    """Return the folder of a run's newest checkpoint."""
    found = _finished(run)
    if not found:
        what = "it does not exist" if not run.exists() else "it holds none"
        raise CheckpointError(
            f"No trained model in '{run}': expected a run folder with {FOLDER}/, but {what}. "
            "Train one with: worldmodel train RECORDING --out RUN"
        )
    return found[-1]


def read_card(folder: Path) -> Card:
    """Read what a checkpoint says of itself."""
    path = folder / "checkpoint.json"
    try:
        return from_json(Card, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"'{path}' is missing or damaged, or of another version of worldmodel ({error}). Train again."
        ) from error


def load_weights(folder: Path, model: WorldModel) -> None:
    """Put a checkpoint's weights into `model`, whose shape must be the same."""
    held, expected = load_tensors(folder / "model.safetensors"), model.state_dict()
    for name in sorted(set(held) | set(expected)):
        shapes = [list(tensors[name].shape) if name in tensors else "absent" for tensors in (held, expected)]
        if shapes[0] != shapes[1]:
            raise CheckpointError(
                f"Checkpoint '{folder}' has another shape than its configuration: {name} is {shapes[0]}, "
                f"expected {shapes[1]}. Its files do not belong together: restore them, or train again."
            )
    model.load_state_dict(held)


def load_training(folder: Path) -> Tensors:
    """Read the state of what trained the model."""
    return load_tensors(folder / "training.safetensors")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"'{path}' is missing or damaged ({error}). Use an older checkpoint or train again."
        ) from error


def _finished(run: Path) -> list[Path]:
    folder = run / FOLDER
    if not folder.is_dir():
        return []
    whole = {path.name.removesuffix(REPLACED): path for path in folder.glob(f"*{REPLACED}")}
    whole |= {path.name: path for path in folder.glob("*") if path.name.isdigit()}
    return [whole[name] for name in sorted(whole)]
