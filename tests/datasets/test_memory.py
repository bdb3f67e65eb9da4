"""The memory that frames may be kept in: no more than a container and the processes beside this one leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldmodel.datasets.memory import memory

GIB = 2**30


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that tells the limit, on a machine of 64 GiB; it is not there yet."""
    told = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}
    monkeypatch.setattr(os, "sysconf", told.__getitem__)
    monkeypatch.setattr("worldmodel.datasets.memory.LIMITS", (tmp_path / "none", tmp_path / "limit"))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    return tmp_path / "limit"


def test_without_a_limit_it_is_the_machines(limit: Path) -> None:
    assert memory() == 64 * GIB
    for nothing in ("max\n", f"{2**63 - 4096}\n"):  # of version 2 and of version 1
        limit.write_text(nothing)
        assert memory() == 64 * GIB


def test_a_container_has_what_it_may_take(limit: Path) -> None:
    limit.write_text(f"{4 * GIB}\n")
    assert memory() == 4 * GIB


def test_processes_share_what_there_is(limit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit.write_text(f"{32 * GIB}\n")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert memory() == 4 * GIB
