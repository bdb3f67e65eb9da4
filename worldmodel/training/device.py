"""Where to compute, and in which precision."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import nn

from worldmodel.errors import WorldModelError

PROBE_SIZE = {"cpu": 2048, "cuda": 8192}  # side of the matrices that are timed: large enough for the best rate
PROBE_SECONDS = 0.1  # spent on each precision, beside the first multiplication
KEPT_BYTES = 2**30  # of freed memory, at most, for the next tensors
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST_KEPT = 2**25  # bytes in one piece: glibc takes no more


@dataclass(frozen=True)
class Compute:
    """A device and the precision that pays on it.

    Attributes:
        device: where tensors live.
        bf16: whether autocast to bfloat16 is used.
        flops: measured rate of matrix multiplication in that precision, FLOP/s.
        compiled: whether networks are compiled for it before they are trained.
        replays: whether a GPU that trains alone is asked for all the work of a step at once, where steps allow it, and
            holds what clips are cut from.
    """

    device: torch.device
    bf16: bool
    flops: float
    compiled: bool = False
    replays: bool = True

    @property
    def dtype(self) -> torch.dtype:
        """What matrix multiplications run in."""
        return torch.bfloat16 if self.bf16 else torch.float32

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which matrix multiplications run in the chosen precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def wait(self) -> None:
        """Wait until the device has done all that it was told to: then the clock tells how long it took."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def in_precision(self, bf16: bool) -> Compute:
        """Return the same in bfloat16 or not; where that is another precision, its rate is measured."""
        if bf16 == self.bf16:
            return self
        other = replace(self, bf16=bf16)
        return replace(other, flops=matmul_flops(other.device, other.dtype))

    def prepare(self, model: nn.Module) -> None:
        """Compile the networks of `model` in place, each for itself, where that is asked for.

        Raises:
            WorldModelError: there is no compiler here.
        """
        if self.compiled:
            compiler = os.environ.get("CXX", "g++")
            if shutil.which(compiler) is None:
                raise WorldModelError(
                    f"Networks are compiled by '{compiler}', which is not here. On Debian or Ubuntu, run as root: "
                    "apt-get install -y g++; or name another in the variable CXX, or train without --compile."
                )
            for network in model.children():
                network.compile()

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        precision = "bf16" if self.bf16 else "fp32"
        return f"{name}, {precision}, {self.flops / 1e9:,.0f} GFLOP/s in a matrix multiplication"


def choose_compute(device: str = "auto") -> Compute:
    """Choose a device and measure, in less than half a second, whether bfloat16 pays on it.

    On a GPU, what stays in float32 may use TF32; on a processor under Linux, freed memory is kept for the next step,
    where the C library can (both for the whole process).

    Args:
        device: "auto" (CUDA where there is one, else the CPU), "cpu", "cuda" or "cuda:1".

    Raises:
        WorldModelError: no such device here.
    """
    chosen = _device(device)
    if chosen.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    elif sys.platform == "linux":
        _keep_freed_memory()
    full, half = (matmul_flops(chosen, dtype) for dtype in (torch.float32, torch.bfloat16))
    pays = half > 1.2 * full
    return Compute(chosen, pays, half if pays else full)


def _keep_freed_memory() -> None:
    """Let malloc keep what a training step frees: fetching it from the system anew, page by page, took 5 to 10 %."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise WorldModelError(
            f"Device '{name}' cannot be used: {str(error).splitlines()[0]} Use 'auto', or 'cpu'."
        ) from error
    return device


def matmul_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the best of a few timings of one matrix multiplication, FLOP/s."""
    size = PROBE_SIZE.get(device.type, PROBE_SIZE["cpu"])
    generator = torch.Generator(device)  # a GPU multiplies ones faster than anything that a model holds
    a = torch.randn(size, size, device=device, dtype=dtype, generator=generator)
    best, begun = float("inf"), 0.0
    while not begun or time.perf_counter() - begun < PROBE_SECONDS:
        start = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
        begun = begun or time.perf_counter()  # the first warms up
    return float(2 * size**3 / best)
