"""Where to compute is chosen, measured, and refused with a reason."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute, choose_compute


def test_a_processor_is_measured_and_autocast_follows_the_choice() -> None:
    compute = choose_compute("cpu")
    assert compute.device == torch.device("cpu")
    assert compute.flops > 1e8
    assert re.fullmatch(rf"CPU, .* {compute.flops / 1e9:,.0f} GFLOP/s .*", str(compute))
    with compute.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if compute.bf16 else torch.float32)


@pytest.mark.parametrize(("half", "chosen"), [(90.0, (False, 100.0)), (110.0, (False, 100.0)), (130.0, (True, 130.0))])
def test_the_rate_is_that_of_the_chosen_precision(
    monkeypatch: pytest.MonkeyPatch, half: float, chosen: tuple[bool, float]
) -> None:
    rates = {torch.float32: 100.0, torch.bfloat16: half}
    monkeypatch.setattr("worldmodel.training.device.matmul_flops", lambda device, dtype: rates[dtype])
    compute = choose_compute("cpu")
    assert (compute.bf16, compute.flops) == chosen


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(WorldModelError, match=f"'{name}'.*'auto'"):
        choose_compute(name)


FAULTS = """
import resource, torch
from worldmodel.training.device import choose_compute

def step():
    several = [torch.zeros(2**22) for _ in range(3)]

choose_compute("cpu")
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_what_a_step_frees_the_next_one_takes() -> None:
    fetched = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True).stdout
    assert int(fetched) < 2**26  # of 240 MiB; without, all of them


def test_a_missing_compiler_is_named(cpu: Compute, tiny_model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    cpu.prepare(tiny_model)
    with pytest.raises(WorldModelError, match="'no-such-compiler'"):
        replace(cpu, compiled=True).prepare(tiny_model)
