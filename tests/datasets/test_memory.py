"""The memory that frames may be kept in: no more than a container and the processes beside this one leave."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from worldmodel.datasets.memory import memory

GIB = 2**30
V1, V2 = "memory.limit_in_bytes", "memory.max"

# Writes which groups this process is in, and what the files of their limits tell.
Limit = Callable[..., None]


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Set limits, on a machine of 64 GiB; there are none yet."""
    told = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}
    hierarchies = {1: (tmp_path / "memory", V1), 2: (tmp_path, V2)}
    monkeypatch.setattr(os, "sysconf", told.__getitem__)
    monkeypatch.setattr("worldmodel.datasets.memory.OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr("worldmodel.datasets.memory.HIERARCHIES", hierarchies)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)

    def write(own: str, **limits: object) -> None:
        (tmp_path / "own").write_text(own)
        for path, value in limits.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(f"{value}\n")

    return write


def test_without_a_limit_it_is_the_machines(limit: Limit) -> None:
    assert memory() == 64 * GIB  # nor is there a file that tells of groups, as on macOS
    limit("1:cpu,cpuacct:/\n0::/\n", **{V2: "max"})
    assert memory() == 64 * GIB
    limit("4:memory:/\n", **{f"memory/{V1}": 2**63 - 4096})
    assert memory() == 64 * GIB


@pytest.mark.parametrize(("own", "path"), [("0::/", V2), ("3:cpu:/x\n4:memory:/", f"memory/{V1}")])
def test_a_container_has_what_it_may_take(limit: Limit, own: str, path: str) -> None:
    limit(own + "\n", **{path: 4 * GIB})
    assert memory() == 4 * GIB


@pytest.mark.parametrize(
    ("own", "root", "name"),
    [("0::/slurm/job_1/step_0", ".", V2), ("7:cpuset,memory:/slurm/job_1/step_0", "memory", V1)],
)
@pytest.mark.parametrize("tightest", ["", "slurm/", "slurm/job_1/", "slurm/job_1/step_0/"])
def test_the_tightest_of_the_groups_around_counts(limit: Limit, own: str, root: str, name: str, tightest: str) -> None:
    around = ("", "slurm/", "slurm/job_1/", "slurm/job_1/step_0/")
    limits = {f"{root}/{group}{name}": 2 * GIB if group == tightest else 8 * GIB for group in around}
    limit(f"{own}\n", **limits, **{f"{root}/slurm/job_2/{name}": GIB})  # the last one is another job's
    assert memory() == 2 * GIB


def test_a_container_that_is_called_as_outside_of_it_has_its_own_limit(limit: Limit) -> None:
    limit("4:memory:/docker/0123\n", **{f"memory/{V1}": 4 * GIB})
    assert memory() == 4 * GIB


def test_processes_share_what_there_is(limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    limit("0::/\n", **{V2: 32 * GIB})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert memory() == 4 * GIB
