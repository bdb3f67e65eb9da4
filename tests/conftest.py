"""Recordings to test with: one written by hand in a moment, whose frames say what they are, and one of the recorder."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from worldmodel.datasets.formats.exchange import export_recording, import_recording
from worldmodel.datasets.manifest import Camera, Provenance, Simulation, Software
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.datasets.rerender import RerenderConfig, rerender
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.models.conv import ConvEncoderConfig
from worldmodel.models.decoder import DecoderConfig
from worldmodel.models.disagreement import DisagreementConfig
from worldmodel.models.interface import Interface
from worldmodel.models.inverse import InverseDynamicsConfig
from worldmodel.models.predictor import PredictorConfig
from worldmodel.models.proposal import ProposerConfig
from worldmodel.models.reward import RewardConfig
from worldmodel.models.temporal_distance import TemporalDistanceConfig
from worldmodel.models.world_model import WorldModel, WorldModelConfig
from worldmodel.objectives.masked_future import MaskedFutureConfig
from worldmodel.objectives.sigreg import SIGRegConfig
from worldmodel.training.config import TrainConfig
from worldmodel.training.device import Compute
from worldmodel.training.optimiser import OptimiserConfig
from worldmodel.training.stage import StageConfig
from worldmodel.training.trainer import Trainer

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # counts only before the first video of a process is opened
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it; a shell's background jobs ignore it
for _name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):  # they decide how wide and how colourful is what is told
    os.environ.pop(_name, None)
torch.set_num_threads(1)  # the models here are tiny: a second thread only gets in the way of other processes

SIZE, STEPS_PER_FRAME, ACTIONS = 8, 3, 2
STEPS = (12, 15, 4, 12, 1, 9, 8)  # control steps of each episode; 4, 1 and 8 end within a block


@pytest.fixture
def provenance() -> Provenance:
    """Where the recording written by hand says that it comes from."""
    return Provenance(
        env="by-hand",
        env_arguments="{}",
        cameras=(Camera("top"),),
        channels=("rgb",),
        height=SIZE,
        width=SIZE,
        steps_per_frame=STEPS_PER_FRAME,
        control_seconds=0.02,
        episode_frames=6,
        low=(-1.0,) * ACTIONS,
        high=(1.0,) * ACTIONS,
        policy="uniform",
        seed=7,
        compression="lz4",
        simulation=Simulation("<mujoco/>", "0", 0.01, "fast", "nobody"),
        software=Software("0", "", "3", "1", "3"),
        command="by hand",
    )


@pytest.fixture
def make_episode() -> Callable[[int], Episode]:
    """Make episode number `index`: its frames begin with the bytes (index, frame), its actions with (index, step)."""

    def make(index: int) -> Episode:
        rng = np.random.default_rng(index)
        steps = STEPS[index % len(STEPS)]
        frame_step = np.unique([*range(0, steps, STEPS_PER_FRAME), steps])
        rows = len(frame_step)
        frames = rng.integers(0, 256, (rows, SIZE, SIZE, 3), dtype=np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = index, np.arange(rows)
        return Episode(
            index=index,
            seed=7,
            ending=Ending.LIMIT if steps % STEPS_PER_FRAME == 0 else Ending.TERMINATED,
            pictures={"frames/top": frames},
            frame_step=frame_step,
            qpos=rng.normal(size=(rows, 2)),
            qvel=rng.normal(size=(rows, 2)),
            act=np.zeros((rows, 0)),
            extra=rng.normal(size=(rows, 3)),
            visual=np.ones((rows, 5)),
            time=frame_step * 0.02,
            actions=np.column_stack([np.full(steps, index), np.arange(steps)]).astype(np.float32),
            reward=rng.normal(size=steps),
        )

    return make


@pytest.fixture
def by_hand(
    tmp_path: Path,
    provenance: Provenance,
    make_episode: Callable[[int], Episode],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A finished recording of seven episodes in three shards."""
    monkeypatch.setattr("worldmodel.datasets.store.SHARD_BYTES", 3 * provenance.episode_frames * SIZE * SIZE * 3)
    folder = tmp_path / "by-hand"
    with RecordingStore(folder, provenance, resume=False) as store:
        for index in range(len(STEPS)):
            store.add(make_episode(index))
        store.finish(seconds=1.0)
    return folder


@pytest.fixture(scope="session")
def reacher_config() -> RecordConfig:
    """Six episodes of ten frames of the Reacher."""
    return RecordConfig(frames=60, episode_frames=10, steps_per_frame=2, height=32, width=32, seed=3, workers=1)


@pytest.fixture(scope="session")
def reacher(reacher_config: RecordConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recording of the Reacher. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("recordings") / "reacher"
    record(reacher_config, folder)
    return folder


@pytest.fixture(scope="session")
def shard_hashes() -> Callable[[Path], dict[str, str]]:
    """Return name and SHA-256 of every shard in a folder."""

    def hashes(folder: Path) -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}

    return hashes


@pytest.fixture(scope="session")
def cpu() -> Compute:
    """The CPU, in full precision."""
    return Compute(torch.device("cpu"), bf16=False, flops=1.0)


@pytest.fixture(scope="session")
def tiny_model_config() -> WorldModelConfig:
    """Networks that take no time."""
    return WorldModelConfig(
        latent=8,
        encoder=ConvEncoderConfig(patch=8, widths=(8, 16)),
        predictor=PredictorConfig(token=16, width=16, hidden=32, positions=5, visible=2),
        inverse=InverseDynamicsConfig(width=16),
        proposer=ProposerConfig(width=16, horizon=3, alternatives=2),
        distance=TemporalDistanceConfig(width=16),
        decoder=DecoderConfig(width=16),
        reward=RewardConfig(width=16),
        disagreement=DisagreementConfig(heads=3, width=8),
    )


@pytest.fixture
def tiny_model(tiny_model_config: WorldModelConfig) -> WorldModel:
    """A model that has learned nothing, of a robot with 2 actuators and 2 control steps between frames."""
    torch.manual_seed(0)
    interface = Interface("worldmodel/Reacher-v0", ("top",), 32, 32, "fast", 2, 0.02, (-1.0, 0.0), (1.0, 4.0))
    return WorldModel(tiny_model_config, interface=interface).eval()


@pytest.fixture(scope="session")
def tiny_train_config(tiny_model_config: WorldModelConfig) -> TrainConfig:
    """A training of a moment, on the recording of the Reacher."""
    optimiser = OptimiserConfig(learning_rate=3e-3, warmup=2)
    return TrainConfig(
        model=tiny_model_config,
        objective=MaskedFutureConfig(anti_collapse_weight=3.0, sigreg=SIGRegConfig(slices=16)),
        see=StageConfig(steps=6, batch=4, length=4, optimiser=optimiser),
        forecast=StageConfig(steps=5, batch=4, length=5, optimiser=optimiser),
        guide=StageConfig(steps=3, batch=8, length=6, optimiser=optimiser),
        draw=StageConfig(steps=4, batch=2, length=3, optimiser=optimiser),
        log_every=3,
        save_every=4,
        seed=1,
    )


@pytest.fixture(scope="session")
def trained(
    tiny_train_config: TrainConfig, reacher: Path, cpu: Compute, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run trained by `tiny_train_config`. Read it, do not change it."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    with Recording.open(reacher) as recording:
        Trainer(tiny_train_config, recording=recording, run=run, compute=cpu).train()
    return run


@pytest.fixture(scope="session")
def two_cameras(reacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same recording, filmed again from above and by the free camera. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("recordings") / "two"
    with Recording.open(reacher) as recording:
        rerender(RerenderConfig(cameras=("top", ""), workers=1), recording, folder)
    return folder


@pytest.fixture(scope="session")
def video(reacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recording of the same frames without actions and states. Read it, do not change it."""
    pytest.importorskip("av", reason="av is not installed: pip install 'worldmodel[video]'")
    folder = tmp_path_factory.mktemp("recordings")
    with Recording.open(reacher) as recording:
        export_recording(recording, folder / "videos", format="video", lossy=True)
    import_recording([str(folder / "videos" / "*.mp4")], folder / "video")
    return folder / "video"


@pytest.fixture(scope="session")
def trained_with_two(
    tiny_train_config: TrainConfig, two_cameras: Path, cpu: Compute, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run trained with both cameras, the free one's view at the left. Read it, do not change it."""
    run = tmp_path_factory.mktemp("runs") / "two"
    with Recording.open(two_cameras) as recording:
        Trainer(replace(tiny_train_config, cameras=("", "top")), recording=recording, run=run, compute=cpu).train()
    return run


@pytest.fixture(scope="session")
def feeling_run(
    tiny_train_config: TrainConfig, reacher: Path, cpu: Compute, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run trained with proprioception. Read it, do not change it."""
    run = tmp_path_factory.mktemp("runs") / "feeling"
    config = replace(tiny_train_config, model=replace(tiny_train_config.model, proprioception=True))
    with Recording.open(reacher) as recording:
        Trainer(config, recording=recording, run=run, compute=cpu).train()
    return run


@pytest.fixture(scope="session")
def rewarded(tiny_train_config: TrainConfig, cpu: Compute, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run trained in gymnasium's Reacher, which has a reward. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("rewarded")
    size = {"height": 32, "width": 32, "steps_per_frame": 2, "episode_frames": 10}
    record(RecordConfig(env="Reacher-v5", frames=40, workers=1, **size), folder / "recording")
    with Recording.open(folder / "recording") as recording:
        Trainer(tiny_train_config, recording=recording, run=folder / "run", compute=cpu).train()
    return folder / "run"
