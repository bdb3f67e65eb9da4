"""Whatever stops a recording: what was finished is kept, and a resume ends in the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from worldmodel.config import to_json
from worldmodel.datasets.manifest import Manifest, Provenance, sha256_of
from worldmodel.datasets.production import Finished
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.recorder import RecordConfig, record
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.datasets.workers import Workers
from worldmodel.errors import RecordingError

Hashes = Callable[[Path], dict[str, str]]
LONG = RecordConfig(frames=3000, episode_frames=15, steps_per_frame=4, height=48, width=48, seed=11, workers=2)

EPISODES = 200

RECORD = """
import sys
from pathlib import Path
from worldmodel.config import from_json
from worldmodel.datasets.recorder import RecordConfig, record
record(from_json(RecordConfig, sys.argv[1]), Path(sys.argv[2]), resume=True)
"""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, shard_hashes: Hashes) -> dict[str, str]:
    """The shards of `LONG`, recorded in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "out"
    record(LONG, folder)
    return shard_hashes(folder)


def start(folder: Path, config: RecordConfig = LONG) -> subprocess.Popen[str]:
    """Start or continue a recording in a process group of its own."""
    command = [sys.executable, "-c", RECORD, to_json(config), str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_episodes(process: subprocess.Popen[str], folder: Path, more_than: int = 0) -> None:
    """Wait until the spool holds more episodes than that."""
    deadline = time.monotonic() + 60
    while len(list(folder.glob("spool/episode-*.bin"))) <= more_than:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, "the recorder does not record"
        time.sleep(0.01)


def assert_what_is_finished_can_be_read(folder: Path) -> int:
    with Recording.open(folder) as recording:
        for index in range(recording.episodes):
            assert recording.episode(index).index == index
        return recording.episodes


def test_kill_9_of_a_writer_at_a_hundred_moments(
    tmp_path: Path,
    provenance: Provenance,
    make_episode: Callable[[int], Episode],
    shard_hashes: Hashes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worldmodel.datasets.store.SHARD_BYTES", 3 * provenance.episode_frames * 8 * 8 * 3)
    episodes = [make_episode(index) for index in range(20)]

    def write(folder: Path) -> None:
        """Write what is missing, as a recorder and its only worker do."""
        with RecordingStore(folder, provenance, resume=True) as store:
            store.reopen()
            for episode in episodes[store.sealed.episodes :]:
                if episode.index not in store.waiting:
                    store.add(episode)
                store.seal()
            store.finish(0.0)

    started = time.perf_counter()
    write(tmp_path / "whole")
    seconds = time.perf_counter() - started
    seed = random.randrange(10**6)
    moment = random.Random(seed)
    partial = 0
    for number in range(100):
        folder = tmp_path / str(number)
        if (child := os.fork()) == 0:
            code = 1
            with suppress(BaseException):
                write(folder)
                code = 0
            os._exit(code)
        time.sleep(moment.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), "the writer fails by itself"
        if (folder / "manifest.json").exists():
            partial += code != 0
            for entry in Manifest.read(folder).shards:
                assert sha256_of(folder / entry.file) == entry.sha256
        write(folder)
        assert shard_hashes(folder) == shard_hashes(tmp_path / "whole"), f"moments drawn from seed {seed}"
    assert partial > 0, "no writer was killed between its first file and its last"


def test_kill_9_at_any_moment_and_resume_ends_in_the_same_bytes(
    tmp_path: Path, shard_hashes: Hashes, uninterrupted: dict[str, str]
) -> None:
    folder = tmp_path / "out"
    seed = random.randrange(10**6)
    moment = random.Random(seed)
    finished = False
    for whole_group in (False, True, False):
        before = len(list(folder.glob("spool/episode-*.bin")))
        process = start(folder)
        with suppress(AssertionError):  # it may have finished already
            wait_for_episodes(process, folder, before)
        time.sleep(moment.uniform(0, 0.3))
        if whole_group:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()  # its workers must not go on beside the next recorder
        _, said = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said
        finished = finished or process.returncode == 0
    kept = len(list(folder.glob("spool/episode-*.bin")))
    assert kept > 0 or finished, "the recorder does not record"
    told: list[Finished] = []
    record(LONG, folder, resume=True, progress=told.append)
    assert shard_hashes(folder) == uninterrupted, f"moments drawn from seed {seed}"
    assert len(told) <= EPISODES - kept + LONG.workers


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the workers")
def test_workers_do_not_outlive_the_recorder(tmp_path: Path) -> None:
    endless = replace(LONG, height=8, width=8, frames=10**6, episode_frames=10**6)
    process = start(tmp_path / "out", endless)
    try:
        wait_for_workers(process)
        process.kill()
        process.communicate(timeout=30)  # ends when nobody is left to write to its standard error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_workers(process: subprocess.Popen[str]) -> None:
    """Wait until a recorder's workers are in their first episode."""
    deadline = time.monotonic() + 60
    workers: list[str] = []
    while not workers:  # another child only counts semaphores
        assert time.monotonic() < deadline
        with suppress(OSError):  # of a child that has just ended
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    time.sleep(1)


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_ctrl_c_and_sigterm_keep_what_is_finished(
    number: signal.Signals, whole_group: bool, tmp_path: Path, shard_hashes: Hashes, uninterrupted: dict[str, str]
) -> None:
    folder = tmp_path / "out"
    process = start(folder)
    wait_for_episodes(process, folder, 3)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert said.count("Traceback") == 1, said  # the caller's own, and none of a worker
    assert "KeyboardInterrupt" in said
    kept = assert_what_is_finished_can_be_read(folder)
    assert 1 <= kept < EPISODES
    kept += len(list(folder.glob("spool/episode-*.bin")))  # behind one that was not finished
    told: list[Finished] = []
    record(LONG, folder, resume=True, progress=told.append)
    assert len(told) == EPISODES - kept
    assert shard_hashes(folder) == uninterrupted


def test_sigterm_of_a_program_with_its_own_way_is_left_alone(reacher_config: RecordConfig, tmp_path: Path) -> None:
    def own_way(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own_way)
    try:
        seen = []
        record(
            replace(reacher_config, frames=10),
            tmp_path / "out",
            progress=lambda _: seen.append(signal.getsignal(signal.SIGTERM)),
        )
        assert seen == [own_way]
        assert signal.getsignal(signal.SIGTERM) is own_way
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_of_the_caller_keeps_what_is_finished(
    reacher: Path, reacher_config: RecordConfig, tmp_path: Path, shard_hashes: Hashes
) -> None:
    def fail_at_the_third(finished: Finished) -> None:
        if finished.episode == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        record(reacher_config, tmp_path / "out", progress=fail_at_the_third)
    assert not multiprocessing.active_children()
    assert assert_what_is_finished_can_be_read(tmp_path / "out") >= 3
    record(reacher_config, tmp_path / "out", resume=True)
    assert shard_hashes(tmp_path / "out") == shard_hashes(reacher)


def test_a_worker_that_dies_is_an_error_and_what_is_finished_is_kept(
    tmp_path: Path, shard_hashes: Hashes, uninterrupted: dict[str, str]
) -> None:
    def kill_one(finished: Finished) -> None:
        if finished.episode == 5:
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)

    with pytest.raises(RecordingError, match=r"worker died \(exit code -9\).*--resume"):
        record(LONG, tmp_path / "out", progress=kill_one)
    assert not multiprocessing.active_children()
    assert assert_what_is_finished_can_be_read(tmp_path / "out") >= 1
    record(LONG, tmp_path / "out", resume=True)
    assert shard_hashes(tmp_path / "out") == uninterrupted


def test_a_worker_that_hangs_is_an_error_and_what_is_finished_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, genuine = [], Workers._refuse_silence

    def stop_one(finished: Finished) -> None:
        if finished.episode == 5:
            victim = multiprocessing.active_children()[0]
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGSTOP)
            stopped.append(victim.pid)

    def refuse_silence(workers: Workers) -> None:
        """Lose patience once a worker hangs: on a busy machine, its start alone may take longer than a moment."""
        if stopped:
            workers._patience = min(workers._patience, 3.0)
        genuine(workers)

    monkeypatch.setattr(Workers, "_refuse_silence", refuse_silence)
    with pytest.raises(RecordingError, match=r"no sign of life.*--resume"):
        record(replace(LONG, frames=10**6, patience=60.0), tmp_path / "out", progress=stop_one)
    assert stopped
    assert not multiprocessing.active_children()
    assert assert_what_is_finished_can_be_read(tmp_path / "out") >= 1


def test_a_stopped_worker_does_not_hold_up_the_end(reacher_config: RecordConfig, tmp_path: Path) -> None:
    def stop_one_and_give_up(finished: Finished) -> None:
        victim = multiprocessing.active_children()[0]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGSTOP)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(reacher_config, tmp_path / "out", progress=stop_one_and_give_up)
    assert not multiprocessing.active_children()


def test_two_recorders_on_one_folder(reacher_config: RecordConfig, tmp_path: Path) -> None:
    def record_beside(_: Finished) -> None:
        with pytest.raises(RecordingError, match="in use"):
            record(reacher_config, tmp_path / "out", resume=True)

    record(replace(reacher_config, frames=10), tmp_path / "out", progress=record_beside)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_what_is_finished_is_kept(
    small_disk: Path, shard_hashes: Hashes, uninterrupted: dict[str, str]
) -> None:
    folder = small_disk / "out"
    with pytest.raises(RecordingError, match=r"No space left.*Free space.*--resume"):
        record(LONG, folder)
    kept = len(list(folder.glob("spool/episode-*.bin"))) + len(list(folder.glob("shard-*.h5")))
    assert kept > 0
    with pytest.raises(RecordingError, match="No space left"):
        record(LONG, folder, resume=True)
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    told: list[Finished] = []
    record(LONG, folder, resume=True, progress=told.append)
    assert len(told) < EPISODES
    assert shard_hashes(folder) == uninterrupted


def test_a_disk_that_is_full_from_the_start_is_an_error(small_disk: Path, reacher_config: RecordConfig) -> None:
    with suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))
    with pytest.raises(RecordingError, match="No space left"):
        record(reacher_config, small_disk / "out")


def test_a_file_system_that_cannot_be_written_is_an_error(small_disk: Path, reacher_config: RecordConfig) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RecordingError, match=r"Read-only file system.*choose another --out"):
        record(reacher_config, small_disk / "out")


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Take the right to write to the folder; root, who may write anywhere, becomes nobody for a while.

    Nobody, too, may go to the folder and read what is in it.
    """
    root = os.geteuid() == 0
    closed = {path: path.stat().st_mode for path in folder.parents if root and not path.stat().st_mode & 0o001}
    folder.chmod(0o555)
    try:
        for path, mode in closed.items():
            path.chmod(mode | 0o011)
        if root:
            os.seteuid(65534)
        os.listdir(folder)  # nothing but the right to write is missing
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in closed.items():
            path.chmod(mode)
        folder.chmod(0o700)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, provenance: Provenance) -> None:
    with (
        without_rights(tmp_path),
        pytest.raises(RecordingError, match=r"Permission denied.*choose another --out"),
    ):
        RecordingStore(tmp_path / "out", provenance, resume=False)


def test_a_recording_that_may_only_be_read_is_not_continued(by_hand: Path, provenance: Provenance) -> None:
    with without_rights(by_hand):
        assert Manifest.read(by_hand).provenance == provenance
        with pytest.raises(RecordingError, match="Permission denied"):
            RecordingStore(by_hand, provenance, resume=True)
