"""Training is repeatable, and whatever stops it, it goes on as if nothing had happened."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from worldmodel.config import from_json, to_json
from worldmodel.datasets.disk import lock
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.errors import CheckpointError, WorldModelError
from worldmodel.evaluation.metrics.rankme import smooth_rank
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.byol import BYOLConfig
from worldmodel.objectives.heads import HeadConfig
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.moco import MoCoConfig
from worldmodel.training.checkpoint import load_model, load_tensors, newest, read_card
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.log import RunLog, read_scalars
from worldmodel.training.optimiser import OptimiserConfig
from worldmodel.training.stage import StageConfig
from worldmodel.training.trainer import Trainer

Train = Callable[..., Trainer]


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


@pytest.fixture
def trainer(tiny_train_config: TrainConfig, recording: Recording, cpu: Compute, tmp_path: Path) -> Train:
    """Make a trainer of `tmp_path / "run"`."""

    def make(config: TrainConfig = tiny_train_config, *, resume: bool = True) -> Trainer:
        return Trainer(config, recording=recording, run=tmp_path / "run", compute=cpu, resume=resume)

    return make


def saved(run: Path) -> dict[str, torch.Tensor]:
    """The weights that a run has saved, whether it is finished or not."""
    return load_tensors(newest(run) / "model.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_model(one).state_dict(), load_model(other).state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def stop_at(stage: str, step: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[..., None]:
    def progress(name: str, done: int, steps: int, values: dict[str, float]) -> None:
        if (name, done) == (stage, step):
            raise error

    return progress


def test_the_same_seed_gives_the_same_weights(trained: Path, trainer: Train, tmp_path: Path) -> None:
    model = trainer().train()
    assert not model.training
    assert_same_weights(trained, tmp_path / "run")
    for name, value in load_model(tmp_path / "run").state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_another_seed_gives_others(
    trained: Path, trainer: Train, tiny_train_config: TrainConfig, tmp_path: Path
) -> None:
    trainer(replace(tiny_train_config, seed=2)).train()
    with pytest.raises(AssertionError):
        assert_same_weights(trained, tmp_path / "run")


@pytest.mark.parametrize(
    ("stage", "step"),
    [("see", 1), ("see", 5), ("see", 6), ("forecast", 1), ("forecast", 5), ("guide", 2), ("draw", 3), ("draw", 4)],
)
def test_stopped_by_ctrl_c_and_resumed(trained: Path, trainer: Train, tmp_path: Path, stage: str, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer().train(stop_at(stage, step))
    position = read_card(newest(tmp_path / "run")).position
    assert (position.stage, position.step) == (stage, step)
    seen = []
    resumed = trainer()
    resumed.train(lambda name, done, steps, values: seen.append((name, done)))
    assert (stage, step) not in seen
    assert resumed.seconds > position.seconds or (stage, step) == ("draw", 4)
    assert_same_weights(trained, tmp_path / "run")


@pytest.mark.parametrize(("stage", "step"), [("see", 2), ("see", 5), ("forecast", 3)])
def test_stopped_by_an_error_and_resumed(trained: Path, trainer: Train, tmp_path: Path, stage: str, step: int) -> None:
    with pytest.raises(ZeroDivisionError):
        trainer().train(stop_at(stage, step, ZeroDivisionError))
    trainer().train()
    assert_same_weights(trained, tmp_path / "run")


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(BYOLConfig(projector=HeadConfig(16, 8), predictor_width=16), id="byol"),
        pytest.param(MoCoConfig(queue=26, projector=HeadConfig(16, 8, norm=False)), id="moco"),
    ],
)
def test_what_objectives_and_muon_remember_goes_on_too(
    trainer: Train,
    tiny_train_config: TrainConfig,
    recording: Recording,
    cpu: Compute,
    tmp_path: Path,
    objective: BYOLConfig | MoCoConfig,
) -> None:
    """Teachers, a queue of keys and Muon's momentum, in each stage that has them."""
    optimiser = OptimiserConfig(1e-3, muon=1e-3, warmup=2)
    see, forecast = (replace(getattr(tiny_train_config, name), optimiser=optimiser) for name in ("see", "forecast"))
    dynamics = MaskedFutureConfig(anti_collapse="teacher")
    config = replace(tiny_train_config, objective=objective, dynamics=dynamics, see=see, tune=see, forecast=forecast)
    Trainer(config, recording=recording, run=tmp_path / "whole", compute=cpu).train()
    for stage, step in (("see", 3), ("tune", 2), ("forecast", 3)):
        with pytest.raises(KeyboardInterrupt):
            trainer(config).train(stop_at(stage, step))
        position = read_card(newest(tmp_path / "run")).position
        assert (position.stage, position.step) == (stage, step)
    trainer(config).train()
    assert_same_weights(tmp_path / "whole", tmp_path / "run")


def test_a_run_is_trained_by_one_process_at_a_time(trainer: Train, tmp_path: Path) -> None:
    one, late = trainer(), trainer()
    held = lock(tmp_path / "run")
    assert held
    with held, pytest.raises(CheckpointError, match=r"is being trained by another process.*--out"):
        one.train()
    one.train()
    with pytest.raises(CheckpointError, match="Another process has gone on"):
        late.train()


def test_stopped_while_it_whitens_and_resumed(trainer: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("worldmodel.training.see.whiten", stopped)
        with pytest.raises(KeyboardInterrupt):
            trainer().train()
    assert read_card(newest(tmp_path / "run")).position.step < 6  # the stage is not finished
    seen = []
    trainer().train(lambda name, done, steps, values: seen.append((name, done)))
    assert ("see", 6) in seen


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from worldmodel.config import from_json
from worldmodel.datasets.reader import Recording
from worldmodel.training.device import Compute
from worldmodel.training.config import TrainConfig
from worldmodel.training.trainer import Trainer

torch.set_num_threads(int(sys.argv[4]))

def progress(name, done, steps, values):
    if (name, done) == ("forecast", 3):
        os.kill(os.getpid(), signal.SIGKILL)

config = from_json(TrainConfig, Path(sys.argv[1]).read_text())
compute = Compute(torch.device("cpu"), bf16=False, flops=1.0)
Trainer(config, recording=Recording.open(sys.argv[2]), run=Path(sys.argv[3]), compute=compute).train(progress)
"""


def test_killed_and_resumed(
    trained: Path, trainer: Train, tiny_train_config: TrainConfig, reacher: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(to_json(tiny_train_config))
    arguments = [str(config), str(reacher), str(tmp_path / "run"), str(torch.get_num_threads())]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert read_card(newest(tmp_path / "run")).position.stage == "see"  # the last checkpoint
    trainer().train()
    assert_same_weights(trained, tmp_path / "run")


@pytest.mark.parametrize("bf16", [False, True])
def test_a_run_goes_on_in_the_precision_that_it_was_begun_in(
    tiny_train_config: TrainConfig,
    recording: Recording,
    cpu: Compute,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bf16: bool,
) -> None:
    """And not in the other, which a new measurement may choose."""
    monkeypatch.setattr("worldmodel.training.device.matmul_flops", lambda device, dtype: dtype.itemsize)
    config, begun, other = replace(tiny_train_config, log_every=1), replace(cpu, bf16=bf16), replace(cpu, bf16=not bf16)
    Trainer(config, recording=recording, run=tmp_path / "whole", compute=begun).train()
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, recording=recording, run=tmp_path / "run", compute=begun).train(stop_at("see", 2))
    resumed = Trainer(config, recording=recording, run=tmp_path / "run", compute=other)
    assert resumed.compute == replace(cpu, bf16=bf16, flops=2 if bf16 else 4)
    resumed.train()
    assert_same_weights(tmp_path / "whole", tmp_path / "run")
    last = read_scalars(tmp_path / "run")[-1]
    assert (last["speed/bf16"], last["speed/matmul_flops"]) == (bf16, resumed.compute.flops)


def test_a_finished_run_is_left_as_it_is(trained: Path, trainer: Train, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    path = newest(tmp_path / "run") / "model.safetensors"
    before = path.read_bytes()
    trainer().train(stop_at("draw", 4, AssertionError))
    assert path.read_bytes() == before


def test_no_frame_is_read_for_a_finished_run(
    trained: Path,
    tiny_train_config: TrainConfig,
    recording: Recording,
    cpu: Compute,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    for name in ("read_frames", "read_clips", "episode"):
        monkeypatch.setattr(Recording, name, lambda *_: pytest.fail("frames are read"))
    finished = Trainer(tiny_train_config, recording=recording, run=tmp_path / "run", compute=cpu)
    expected = load_model(trained).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in finished.train().state_dict().items())
    assert finished.seconds == read_card(newest(trained)).position.seconds


def test_frames_are_let_go_when_the_run_is_finished(trainer: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    held, genuine = [], Recording.read_frames

    def read(self: Recording, start: int, out: np.ndarray) -> None:
        held.append(weakref.ref(out.base))
        genuine(self, start, out)

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "read_frames", read)
        kept = trainer()
    assert {frames().shape for frames in held} == {(50, 32, 32, 3)}  # of the five episodes that are trained on
    kept.train()
    assert {frames() for frames in held} == {None}


def shown(run: Path) -> tuple[list[str], list[str]]:
    """Return the tags of pictures and of embeddings that TensorBoard finds."""
    board = run / "tensorboard"
    config = board / "projector_config.pbtxt"
    told = config.read_text() if config.exists() else ""
    return EventAccumulator(str(board)).Reload().Tags()["images"], re.findall(r'tensor_name: "([^:]*):', told)


PICTURED = ["valid/rollout"], ["latent/embedding"]


def test_a_run_that_counts_as_finished_has_its_pictures(trainer: Train, tmp_path: Path) -> None:
    """On the disk: what stops it then may be the power."""
    found = []

    def look(stage: str, done: int, steps: int, values: dict[str, float]) -> None:
        if (stage, done) == ("draw", 4):
            found.append((read_card(newest(tmp_path / "run")).position.finished, shown(tmp_path / "run")))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer().train(look)
    assert found == [(True, PICTURED)]
    assert shown(tmp_path / "run") == PICTURED  # and not once more


def test_a_run_that_is_stopped_between_its_last_step_and_its_checkpoint_has_them_too(
    trainer: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = RunLog.entry

    def stopped(self: RunLog, step: int, *values: Any) -> None:
        genuine(self, step, *values)
        if step == 18:  # the last
            raise KeyboardInterrupt

    monkeypatch.setattr(RunLog, "entry", stopped)
    with pytest.raises(KeyboardInterrupt):
        trainer().train()
    assert read_card(newest(tmp_path / "run")).position.finished
    assert shown(tmp_path / "run") == PICTURED


def test_an_existing_run_is_not_overwritten(trainer: Train, tiny_train_config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer().train(stop_at("see", 2))
    with pytest.raises(CheckpointError, match=r"already holds a run.*--no-resume"):
        trainer(resume=False)
    with pytest.raises(CheckpointError, match="another configuration"):
        trainer(replace(tiny_train_config, whiten_floor=0.5))
    assert from_json(TrainConfig, (tmp_path / "run" / "config.json").read_text()) == tiny_train_config


def test_a_recording_that_grew_is_not_the_one_the_run_began_with(
    tiny_train_config: TrainConfig, reacher: Path, reacher_config: RecordConfig, cpu: Compute, tmp_path: Path
) -> None:
    grown, run = tmp_path / "grown", tmp_path / "run"
    shutil.copytree(reacher, grown)
    with Recording.open(grown) as recording, pytest.raises(KeyboardInterrupt):
        Trainer(tiny_train_config, recording=recording, run=run, compute=cpu).train(stop_at("see", 2))
    record(replace(reacher_config, frames=2 * reacher_config.frames), grown, resume=True)
    with Recording.open(grown) as recording, pytest.raises(CheckpointError, match="another recording"):
        Trainer(tiny_train_config, recording=recording, run=run, compute=cpu)


def test_a_refused_start_leaves_the_folder_free(
    tiny_train_config: TrainConfig, reacher: Path, cpu: Compute, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    too_long = replace(tiny_train_config, see=StageConfig(steps=1, batch=1, length=500))
    with Recording.open(reacher) as recording:
        with pytest.raises(WorldModelError, match="500"):
            Trainer(too_long, recording=recording, run=run, compute=cpu)
        Trainer(tiny_train_config, recording=recording, run=run, compute=cpu)


def test_clips_too_short_for_the_objective_are_told_before_frames_are_read(
    tiny_train_config: TrainConfig, reacher: Path, cpu: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recording, "read_frames", lambda *_: pytest.fail("frames are read"))
    model = tiny_train_config.model
    one = replace(model, predictor=replace(model.predictor, visible=1))
    too_short = replace(tiny_train_config, model=one, see=StageConfig(steps=1, batch=1, length=2))
    message = r"see\.length is 2; this objective learns from clips of at least 3 frames"
    with Recording.open(reacher) as recording, pytest.raises(WorldModelError, match=message):
        Trainer(too_short, recording=recording, run=tmp_path / "run", compute=cpu)


def test_a_torn_line_of_the_log_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "tra')  # saved last at step 1
    log = RunLog(tmp_path, step=1)
    log.entry(3, {"train/loss": 0.5}, {})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1}, {"step": 3, "train/loss": 0.5}]


@pytest.mark.parametrize(
    "damaged", [b'{"step": 2, "tra\x00\x00\n', b"\xff\xfe\n", b"\n", b"2\n", b'{"train/loss": 0.5}\n']
)
def test_of_a_damaged_log_is_kept_what_can_be_read(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"step": 1}\n' + damaged + b'{"step": 3}\n{"step": 4}\n')
    assert read_scalars(tmp_path) == [{"step": 1}, {"step": 3}, {"step": 4}]
    log = RunLog(tmp_path, step=3)
    log.entry(4, {"train/loss": 0.5}, {})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1}, {"step": 3}, {"step": 4, "train/loss": 0.5}]


def test_the_spectrum_of_the_latents_is_logged_for_programs_too(trained: Path) -> None:
    entries = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    for entry, scalars in zip(entries, read_scalars(trained), strict=True):
        spectrum = entry.pop("latent/spectrum")
        assert len(spectrum) == 8
        assert spectrum == sorted(spectrum, reverse=True)
        assert sum(spectrum) == pytest.approx(1, abs=1e-5)
        assert smooth_rank(torch.tensor(spectrum)) == pytest.approx(entry["latent/rank"], rel=1e-3)
        assert scalars == entry


def test_the_learning_rate_that_a_step_used_is_logged(
    trainer: Train, tiny_train_config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, genuine = [], torch.optim.AdamW.step

    def step(self: torch.optim.AdamW) -> None:
        used.append(self.param_groups[0]["lr"])
        genuine(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    trainer(replace(tiny_train_config, log_every=1)).train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["train/learning_rate"] for line in lines] == pytest.approx(used, abs=1e-6)
    assert used[0] == pytest.approx(3e-3 / 2)  # the first of two steps that warm up


@pytest.mark.parametrize("saved", [0, 2])
def test_a_resumed_log_keeps_what_was_logged_until_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: int
) -> None:
    for second, start, steps, loss in ((10, 0, (1, 2, 3), 0.5), (11, saved, (3, 4), 0.25)):
        monkeypatch.setattr("time.time", lambda now=float(second): now)  # TensorBoard's files are read in its order
        log = RunLog(tmp_path, step=start)
        for step in steps:
            log.entry(step, {"train/loss": loss}, {})
        log.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    kept = [(step, 0.5) for step in range(1, saved + 1)] + [(3, 0.25), (4, 0.25)]
    assert [(line["step"], line["train/loss"]) for line in lines] == kept
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == kept


@pytest.mark.parametrize(("field", "value"), [("steps", 0), ("batch", 0), ("length", 1)])
def test_an_impossible_stage_is_refused(field: str, value: int) -> None:
    with pytest.raises(WorldModelError, match=f"{field} of a stage is {value}"):
        replace(StageConfig(steps=1, batch=1, length=3), **{field: value})


@pytest.mark.parametrize(
    ("poison", "told"),
    [
        (lambda loss: loss * float("nan"), "the loss is nan"),
        (lambda loss: loss + float("inf"), "the loss is inf"),
        (lambda loss: loss + (0 * loss).sqrt(), "the gradient's norm is nan"),
    ],
)
def test_divergence_is_an_error_and_keeps_the_last_checkpoint(
    trainer: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    poison: Callable[[torch.Tensor], torch.Tensor],
    told: str,
) -> None:
    from worldmodel.objectives import masked_future

    genuine, calls = masked_future.forecast_error, []

    def poisoned(*arguments: Any, felt: torch.Tensor | None) -> torch.Tensor:
        calls.append(1)
        error = genuine(*arguments, felt=felt)
        return poison(error) if len(calls) == 6 else error

    monkeypatch.setattr(masked_future, "forecast_error", poisoned)
    diverging = trainer()
    with pytest.raises(WorldModelError, match=f"diverged at step 5 of 'see': {told}; expected a finite number"):
        diverging.train()
    assert all(torch.isfinite(value).all() for value in diverging.model.state_dict().values())
    assert read_card(newest(tmp_path / "run")).position.step == 4
    assert all(torch.isfinite(value).all() for value in saved(tmp_path / "run").values())


def test_losses_fall_and_are_logged(trainer: Train, tiny_train_config: TrainConfig, tmp_path: Path) -> None:
    def longer(stage: StageConfig, batch: int = 16, learning_rate: float = 1e-3) -> StageConfig:
        return replace(stage, steps=60, batch=batch, optimiser=OptimiserConfig(learning_rate, warmup=2))

    config = replace(
        tiny_train_config,
        objective=MaskedFutureConfig(anti_collapse="variance", anti_collapse_weight=1.0),
        see=longer(tiny_train_config.see),
        forecast=longer(tiny_train_config.forecast),
        guide=longer(tiny_train_config.guide, batch=256, learning_rate=1e-2),
        draw=longer(tiny_train_config.draw),
        log_every=5,
        save_every=60,
    )
    trainer(config).train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(5, 241, 5))
    for first, tags in (
        (0, ("anti_collapse", "inverse")),
        (12, ("forecast",)),
        (24, ("proposal", "distance")),
        (36, ("decoder",)),
    ):
        for tag in tags:
            values = [line[f"train/{tag}"] for line in lines[first : first + 12]]
            assert sum(values[-3:]) < sum(values[:3]), tag
    assert {"valid/error_1", "valid/copy_last_1", "latent/rank", "train/learning_rate"} <= set(lines[-1])
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pt", ".pth", ".pkl", ".ckpt")]
    assert any(path.parent.name == "tensorboard" for path in files)


def test_later_stages_change_no_more_of_the_encoder_than_the_basis_of_its_latents(
    trainer: Train, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trainer().train(stop_at("see", 6))
    old = saved(tmp_path / "run")
    after = trainer().train()
    before, new = deepcopy(after), after.state_dict()
    before.load_state_dict(old)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert {name.split(".")[0] for name in changed} == {
        "encoder",
        "predictor",
        "inverse",
        "proposer",
        "reach",
        "distance",
        "disagreement",
        "decoder",
    }
    assert {name for name in changed if name.startswith("encoder")} == {
        "encoder.project.weight",
        "encoder.project.bias",
    }
    frames = torch.randint(0, 256, (64, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen, same = (torch.cat([m.encode(frames), torch.ones(64, 1)], 1).double() for m in (before, after))
    into = torch.linalg.lstsq(seen, same).solution
    torch.testing.assert_close(seen @ into, same, rtol=0, atol=1e-6 * same.abs().max().item())


def test_compiled_networks_learn_what_others_do(
    trained: Path,
    recording: Recording,
    cpu: Compute,
    tiny_train_config: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As PyTorch traces them, but run as they are: machine code for all of them takes minutes."""
    traced: list[torch.fx.GraphModule] = []

    def run_traced(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        traced.append(graph)
        return graph.forward

    compile_network = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compile_network(network, backend=run_traced))
    monkeypatch.setattr("shutil.which", lambda name: name)
    run, compute = tmp_path / "run", replace(cpu, compiled=True)
    Trainer(tiny_train_config, recording=recording, run=run, compute=compute).train()
    assert len(traced) >= 4  # encoder, predictor, proposer and decoder at least
    compiled, plain = (
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (run, trained)
    )
    assert len(compiled) == len(plain)
    for one, other in zip(compiled, plain, strict=True):
        for tag, value in other.items():
            if tag.split("/")[0] in ("train", "valid"):
                assert one[tag] == pytest.approx(value, rel=0.01, abs=1e-3), tag
    assert load_model(run).state_dict().keys() == load_model(trained).state_dict().keys()


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles for the CPU with a C++ compiler")
@torch.no_grad()
def test_a_compiled_network_says_what_it_said(tiny_model: WorldModel, cpu: Compute) -> None:
    latents = torch.randn(6, 4, tiny_model.config.latent, generator=torch.Generator().manual_seed(0))
    before = tiny_model.inverse(latents)
    replace(cpu, compiled=True).prepare(tiny_model)
    torch.testing.assert_close(tiny_model.inverse(latents), before, rtol=1e-4, atol=1e-5)


def test_clips_longer_than_the_episodes_are_refused(trainer: Train, tiny_train_config: TrainConfig) -> None:
    with pytest.raises(WorldModelError, match="11 frames"):
        trainer(replace(tiny_train_config, see=replace(tiny_train_config.see, length=11)))
