"""What a step may be cut into, who may share it, and when a stage ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldmodel.config import to_json
from worldmodel.datasets.reader import Recording
from worldmodel.errors import WorldModelError
from worldmodel.models.conv import ConvEncoder
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.training.average import WeightAverage
from worldmodel.training.checkpoint import load_model, load_training, newest, read_card
from worldmodel.training.clock import Limit
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.health import CollapseWatch
from worldmodel.training.optimiser import OptimiserConfig
from worldmodel.training.stage import StageConfig
from worldmodel.training.trainer import Trainer


@pytest.fixture
def recording(reacher: Path) -> Iterator[Recording]:
    with Recording.open(reacher) as recording:
        yield recording


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(load_model(run).state_dict())


@torch.no_grad()
def answers(run: Path, recording: Recording) -> torch.Tensor:
    """What a model says of an episode: latents and forecasts. Weights that do not matter may differ."""
    model, episode = load_model(run), recording.episode(0)
    latents = model.encode(torch.from_numpy(episode.frames[:5]))[None]
    blocks = torch.from_numpy(episode.actions[:8]).view(1, 4, 2, 2)
    visible = torch.arange(5)[None] < 2
    return torch.cat([latents, model.predictor(latents, visible, model.flatten_actions(blocks))])


@pytest.fixture(scope="session")
def steady_config(tiny_train_config: TrainConfig) -> TrainConfig:
    """A training of a moment that can go on for longer without collapse."""
    objective = replace(tiny_train_config.objective, anti_collapse_weight=0.7)
    see = replace(tiny_train_config.see, batch=16, optimiser=OptimiserConfig(learning_rate=1e-3, warmup=2))
    return replace(tiny_train_config, objective=objective, see=see)


def test_a_time_budget_is_kept_and_its_schedule_finished(
    steady_config: TrainConfig, recording: Recording, cpu: Compute, tmp_path: Path
) -> None:
    config = replace(steady_config, minutes=0.1, log_every=1000, save_every=1000)
    seen: dict[str, list[int]] = {}
    trainer = Trainer(config, recording=recording, run=tmp_path, compute=cpu)
    trainer.train(lambda stage, done, steps, values: seen.setdefault(stage, []).append(steps - done))
    position = read_card(newest(tmp_path)).position
    assert position.finished
    assert position.seconds == pytest.approx(6, rel=0.25)
    assert list(seen) == ["see", "forecast", "guide", "draw"]
    assert all(left[-1] == 0 for left in seen.values())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # a tenth of the highest: little of the schedule was left when the last step was taken
    assert all(line["train/learning_rate"] < 3e-4 for line in lines if line["step"] in _ends(seen))


def _ends(seen: dict[str, list[int]]) -> list[int]:
    ends, total = [], 0
    for steps in seen.values():
        total += len(steps)
        ends.append(total)
    return ends


def test_a_time_budget_goes_on_where_it_stopped(
    steady_config: TrainConfig, recording: Recording, cpu: Compute, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, steps: int, values: dict[str, float]) -> None:
        if stage == "forecast":
            raise KeyboardInterrupt

    config = replace(steady_config, minutes=0.05, log_every=1000, save_every=1000)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, recording=recording, run=tmp_path, compute=cpu).train(stop)
    before = read_card(newest(tmp_path)).position
    Trainer(config, recording=recording, run=tmp_path, compute=cpu).train()
    after = read_card(newest(tmp_path)).position
    assert after.finished
    assert before.seconds < after.seconds == pytest.approx(3, rel=0.4)


@pytest.mark.parametrize(
    ("limit", "step", "seconds", "progress", "expected"),
    [
        (Limit(10), 5, 99.0, 0.5, 10),
        (Limit(10), 10, 0.0, 1.0, 10),
        (Limit(10, 60.0), 30, 15.0, 0.25, 120),
        (Limit(10, 60.0), 30, 61.0, 1.0, 30),
        (Limit(10, 60.0), 0, 0.0, 0.0, 1),
    ],
)
def test_the_share_that_is_done(limit: Limit, step: int, seconds: float, progress: float, expected: int) -> None:
    assert limit.progress(step, seconds) == progress
    assert limit.expected_steps(step, progress) == expected


def test_a_step_in_parts_learns_the_same(
    steady_config: TrainConfig, recording: Recording, cpu: Compute, tmp_path: Path
) -> None:
    """Without draws, and without a loss that compares the clips of a batch."""
    objective = MaskedFutureConfig(action_dropout=0.0, anti_collapse_weight=0.0, sketch_weight=0.0)
    said = []
    for parts in (1, 2):
        see = replace(steady_config.see, steps=3, accumulate=parts)
        model = replace(steady_config.model, predictor=replace(steady_config.model.predictor, visible=1))
        config = replace(
            steady_config, model=model, objective=objective, see=see, whiten_floor=1.0, certainty_floor=1.0
        )
        Trainer(config, recording=recording, run=tmp_path / str(parts), compute=cpu).train()
        said.append(answers(tmp_path / str(parts), recording))
    torch.testing.assert_close(*said, rtol=1e-2, atol=5e-3)


def test_the_average_is_what_a_stage_leaves_behind(
    trained: Path, tiny_train_config: TrainConfig, recording: Recording, cpu: Compute, tmp_path: Path
) -> None:
    config = replace(tiny_train_config, forecast=replace(tiny_train_config.forecast, average=0.9))
    stops = iter([False] * 8 + [True] + [False] * 100)

    def stop(*_: object) -> None:
        if next(stops):
            raise KeyboardInterrupt

    Trainer(config, recording=recording, run=tmp_path / "whole", compute=cpu).train()
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, recording=recording, run=tmp_path / "stopped", compute=cpu).train(stop)
    assert any(name.startswith("average/") for name in load_training(newest(tmp_path / "stopped")))
    Trainer(config, recording=recording, run=tmp_path / "stopped", compute=cpu).train(stop)
    one, other, last = weights(tmp_path / "whole"), weights(tmp_path / "stopped"), weights(trained)
    assert all(torch.equal(one[name], other[name]) for name in one)
    learned = [name for name in one if name.startswith("predictor.")]
    assert any(not torch.equal(one[name], last[name]) for name in learned), "the last weights were left behind"


def test_the_average_known_answer() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer.named_parameters(), memory=0.5)
    expected = layer.weight.item()
    for step, value in enumerate((1.0, 2.0, -4.0)):
        torch.nn.init.constant_(layer.weight, value)
        average.follow(step)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    average.install()
    assert layer.weight.item() == pytest.approx(expected, rel=1e-6)


def test_a_collapse_ends_training_with_a_remedy() -> None:
    watch = CollapseWatch("see", "raise --objective.anti-collapse-weight")
    for _ in range(10):
        watch.look(rank=1.0, spread=0.0, step=100, progress=0.9)  # it has hardly begun
        watch.look(rank=1.0, spread=0.5, step=300, progress=0.3)  # it may still unfold
        watch.look(rank=9.0, spread=0.5, step=900, progress=0.9)
    watch.look(rank=9.0, spread=1e-5, step=300, progress=0.1)
    watch.look(rank=1.0, spread=0.5, step=900, progress=0.8)
    with pytest.raises(
        WorldModelError,
        match=r"collapsed: effective rank 1\.00.* Raise --objective\.anti-collapse-weight, lower --see\.optimiser",
    ):
        watch.look(rank=1.0, spread=0.5, step=900, progress=0.8)
    ended = CollapseWatch("see", None)
    ended.conclude(rank=1.2, spread=2e-4)
    for rank, spread in ((1.0, 0.5), (9.0, 1e-5)):
        with pytest.raises(WorldModelError, match=r"collapsed.* Lower --see\.optimiser\.learning-rate"):
            ended.conclude(rank, spread)


@pytest.mark.parametrize(("shape", "told"), [("point", "collapsed"), ("line", r"collapsed: effective rank 1\.00")])
def test_an_encoder_that_sees_nothing_is_told(
    tiny_train_config: TrainConfig,
    recording: Recording,
    cpu: Compute,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    told: str,
) -> None:
    """However short the run is."""
    genuine = ConvEncoder.forward

    def blind(self: ConvEncoder, frames: torch.Tensor) -> torch.Tensor:
        latents = genuine(self, frames)
        return latents * 1e-6 + 1 if shape == "point" else latents[:, :1].expand_as(latents)

    monkeypatch.setattr(ConvEncoder, "forward", blind)
    with pytest.raises(WorldModelError, match=told):
        Trainer(tiny_train_config, recording=recording, run=tmp_path, compute=cpu).train()
    assert not read_card(newest(tmp_path)).position.finished


@pytest.mark.parametrize(
    ("dynamics", "told"),
    [
        (MaskedFutureConfig(), r"Raise --dynamics\.anti-collapse-weight"),
        (MaskedFutureConfig(anti_collapse="teacher"), r"Choose --dynamics\.anti-collapse sigreg"),
    ],
)
def test_the_remedy_is_one_of_the_stage_that_collapsed(
    tiny_train_config: TrainConfig,
    recording: Recording,
    cpu: Compute,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dynamics: MaskedFutureConfig,
    told: str,
) -> None:
    def blind(stage: str, *_: object) -> None:
        if stage == "tune":
            monkeypatch.setattr(ConvEncoder, "forward", lambda self, frames: torch.ones(len(frames), 8))

    config = replace(tiny_train_config, objective=VICRegConfig(), dynamics=dynamics, tune=tiny_train_config.see)
    with pytest.raises(WorldModelError, match=rf"{told}, lower --tune\.optimiser\.learning-rate"):
        Trainer(config, recording=recording, run=tmp_path, compute=cpu).train(blind)


def test_video_without_actions_is_learned_from(
    tiny_train_config: TrainConfig, video: Path, cpu: Compute, tmp_path: Path
) -> None:
    with Recording.open(video) as recording:
        model = Trainer(tiny_train_config, recording=recording, run=tmp_path, compute=cpu).train()
    assert model.interface.low == ()
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


WORKER = """
import sys
from pathlib import Path
import torch
from worldmodel.config import from_json
from worldmodel.datasets.reader import Recording
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.processes import joined
from worldmodel.training.trainer import Trainer

torch.set_num_threads(1)
config = from_json(TrainConfig, Path(sys.argv[1]).read_text())
compute = Compute(torch.device("cpu"), bf16=False, flops=1.0)
with joined("cpu") as processes:
    trainer = Trainer(
        config, recording=Recording.open(sys.argv[2]), run=Path(sys.argv[3]), compute=compute, processes=processes
    )
    trainer.train(lambda *_: print("step", flush=True) if processes.leads else None)
"""


def launch(
    config: TrainConfig, recording: Path, run: Path, processes: int, worker: str = WORKER
) -> subprocess.Popen[str]:
    """Start training in as many processes, as torchrun does."""
    path = run.with_suffix(".json")
    path.write_text(to_json(config))
    arguments = ["-c", worker, str(path), str(recording), str(run)]
    if processes > 1:
        script = run.with_suffix(".py")
        script.write_text(worker)
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
        arguments = [str(script), *arguments[2:]]
    else:
        command = [sys.executable]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([*command, *arguments], env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_learn_what_one_does(
    steady_config: TrainConfig, recording: Recording, reacher: Path, tmp_path: Path
) -> None:
    short = {name: replace(getattr(steady_config, name), steps=2) for name in ("see", "forecast", "guide", "draw")}
    config = replace(steady_config, **short, log_every=1, whiten_floor=0.1)
    one, two = (launch(config, reacher, tmp_path / str(count), count) for count in (1, 2))
    for started in (one, two):
        assert started.wait(timeout=240) == 0
    said = [answers(tmp_path / count, recording) for count in "12"]
    torch.testing.assert_close(*said, rtol=1e-2, atol=1e-2)
    first, second = (
        [json.loads(line) for line in (tmp_path / count / "log.jsonl").read_text().splitlines()] for count in "12"
    )
    assert [line["step"] for line in first] == [line["step"] for line in second]
    for line, other in zip(first, second, strict=True):
        for tag in (
            "train/forecast",
            "train/anti_collapse",
            "train/proposal",
            "train/distance",
            "train/decoder",
            "valid/error_1",
        ):
            if tag in line:
                assert other[tag] == pytest.approx(line[tag], rel=1e-2, abs=1e-4), tag


def test_a_batch_that_cannot_be_shared_is_refused(tiny_train_config: TrainConfig) -> None:
    from worldmodel.training.processes import Processes

    with pytest.raises(WorldModelError, match=r"see\.batch is 5; expected a multiple of the 2 processes"):
        Processes(0, 2).share(5, "see.batch")


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_saves_and_leaves(
    tiny_train_config: TrainConfig, reacher: Path, tmp_path: Path, processes: int
) -> None:
    config = replace(tiny_train_config, see=replace(tiny_train_config.see, steps=10_000), save_every=9_999)
    started = launch(config, reacher, tmp_path / "run", processes)
    assert started.stdout
    for _ in range(3):
        assert started.stdout.readline() == "step\n"
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=60) != 0
    assert read_card(newest(tmp_path / "run")).position.step >= 3


RESUMER = """
import os, signal, sys
from pathlib import Path
import torch
from worldmodel.config import from_json
from worldmodel.datasets.reader import Recording
from worldmodel.errors import CheckpointError
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.processes import joined
from worldmodel.training.trainer import Trainer

torch.set_num_threads(1)
config = from_json(TrainConfig, Path(sys.argv[1]).read_text())
compute = Compute(torch.device("cpu"), bf16=False, flops=1.0)
recording, runs = Recording.open(sys.argv[2]), Path(sys.argv[3])

with joined("cpu") as processes:
    def train(run, stop=None):
        # the second process alone is asked to stop
        def progress(stage, done, *_):
            if (stage, done) == stop and not processes.leads:
                os.kill(os.getpid(), signal.SIGINT)

        try:
            Trainer(config, recording=recording, run=run, compute=compute, processes=processes).train(progress)
            assert stop is None
        except KeyboardInterrupt:
            assert stop is not None
        processes.wait()  # until the checkpoint is there

    train(runs / "whole")
    for stop in (("see", 3), ("forecast", 1), ("guide", 2), None):
        train(runs / "stopped", stop)
    try:
        train(runs / ("whole" if processes.leads else "elsewhere"))
    except CheckpointError as error:
        (runs / f"refused-{processes.rank}").write_text(str(error))
"""


def test_two_processes_go_on_where_they_stopped_if_they_find_the_same_run(
    tiny_train_config: TrainConfig, reacher: Path, tmp_path: Path
) -> None:
    assert launch(tiny_train_config, reacher, tmp_path / "runs", 2, RESUMER).wait(timeout=240) == 0
    one, other = (weights(tmp_path / "runs" / name) for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    for rank in range(2):
        assert re.search(
            r"process 0 finds that of step 18, process 1 none; .* on storage that all machines share",
            (tmp_path / "runs" / f"refused-{rank}").read_text(),
        )


KILLER = """
import os, random, select, signal, sys, time
from pathlib import Path
import torch
from worldmodel.config import from_json
from worldmodel.datasets.reader import Recording
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.trainer import Trainer

torch.set_num_threads(1)
config = from_json(TrainConfig, Path(sys.argv[1]).read_text())
compute = Compute(torch.device("cpu"), bf16=False, flops=1.0)
stages = ("see", "forecast", "guide", "draw")
steps = sum(getattr(config, stage).steps for stage in stages)

def train(run, tell_at=steps):
    # in a child; returns it, and a pipe that tells when so many steps are done
    told, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, told

    def progress(stage, done, *_):
        done += sum(getattr(config, before).steps for before in stages[: stages.index(stage)])
        if done >= tell_at:
            os.write(tell, b".")
        if tell_at < steps and done >= min(tell_at + 10, steps - 1):  # it is killed here at the latest
            signal.pause()

    try:
        Trainer(config, recording=Recording.open(sys.argv[2]), run=Path(run), compute=compute).train(progress)
        os._exit(0)
    finally:
        os._exit(1)

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

started = time.perf_counter()
assert wait(train(sys.argv[3])[0]) == 0
step = (time.perf_counter() - started) / steps
moments = random.Random(0)
for kill in range(10):
    tell_at = moments.randrange(kill * steps // 10, (kill + 1) * steps // 10)
    child, told = train(sys.argv[4], tell_at)
    select.select([told], [], [])
    time.sleep(moments.uniform(0, 3) * step)
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    os.close(told)
assert wait(train(sys.argv[4])[0]) == 0
"""


def test_killed_at_ten_moments_and_resumed(steady_config: TrainConfig, reacher: Path, tmp_path: Path) -> None:
    """One in each tenth of the run, at any point of a step."""
    longer = replace(
        steady_config,
        see=replace(steady_config.see, steps=60),
        forecast=replace(steady_config.forecast, steps=60),
        guide=replace(steady_config.guide, steps=40),
        draw=replace(steady_config.draw, steps=40),
        log_every=20,
        save_every=7,
    )
    (tmp_path / "config.json").write_text(to_json(longer))
    arguments = [str(tmp_path / "config.json"), str(reacher), str(tmp_path / "whole"), str(tmp_path / "killed")]
    subprocess.run([sys.executable, "-c", KILLER, *arguments], check=True, timeout=300)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_impossible_stage_is_refused() -> None:
    for field, value in (("accumulate", 3), ("accumulate", 0), ("average", 1.0), ("average", -0.1), ("share", 0.0)):
        with pytest.raises(WorldModelError, match=f"{field}.* is {value}"):
            replace(StageConfig(steps=1, batch=4, length=3), **{field: value})


def test_video_alone_goes_on_where_it_stopped(
    tiny_train_config: TrainConfig, video: Path, cpu: Compute, tmp_path: Path
) -> None:
    """Without actions inverse dynamics learns nothing, and is still part of what is saved."""

    def stop(stage: str, done: int, *_: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with Recording.open(video) as recording:
        with pytest.raises(KeyboardInterrupt):
            Trainer(tiny_train_config, recording=recording, run=tmp_path, compute=cpu).train(stop)
        Trainer(tiny_train_config, recording=recording, run=tmp_path, compute=cpu).train()
    assert read_card(newest(tmp_path)).position.finished


def test_settings_may_change_until_there_is_a_checkpoint(
    tiny_train_config: TrainConfig, recording: Recording, cpu: Compute, tmp_path: Path
) -> None:
    Trainer(tiny_train_config, recording=recording, run=tmp_path, compute=cpu)  # and nothing was trained
    Trainer(replace(tiny_train_config, seed=9), recording=recording, run=tmp_path, compute=cpu)


def test_a_checkpoint_being_replaced_still_counts(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    last = newest(run)
    last.rename(last.with_name(f"{last.name}.replaced"))  # killed between two renames
    assert newest(run).name == f"{last.name}.replaced"
    assert load_model(run)
