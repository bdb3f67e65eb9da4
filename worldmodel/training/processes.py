"""One process, or several that torchrun started and that train one model together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from worldmodel.errors import WorldModelError
from worldmodel.interrupts import signals_held


@dataclass(frozen=True)
class Processes:
    """Which process this is, of how many.

    Attributes:
        rank: 0 for the one that writes logs and checkpoints.
        count: 1 without torchrun.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, batch: int, what: str) -> int:
        """Return this process's share of a joint batch.

        Raises:
            WorldModelError: it cannot be shared evenly.
        """
        if batch % self.count:
            raise WorldModelError(
                f"{what} is {batch}; expected a multiple of the {self.count} processes that share it."
            )
        return batch // self.count

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.sum(torch.zeros(()))

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def all(self, fine: bool) -> bool:
        """Return whether all processes are fine: they must stop together, or those that go on wait for ever."""
        return fine if self.count == 1 else not self.sum(torch.tensor(float(not fine)))

    def each(self, value: int) -> list[int]:
        """Return what each process says, in order of their ranks."""
        if self.count == 1:
            return [value]
        told = [torch.zeros((), dtype=torch.int64) for _ in range(self.count)]
        distributed.all_gather(told, torch.tensor(value))
        return [int(number) for number in told]

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return means over all processes."""
        if self.count == 1 or not values:
            return values
        summed = self.sum(torch.tensor(list(values.values()), dtype=torch.float64))
        return dict(zip(values, (summed / self.count).tolist(), strict=True))

    def first(self, value: float) -> float:
        """Return what the first process says: clocks differ, and all must decide alike."""
        if self.count == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(told, 0)
        return float(told)

    @contextmanager
    def leaving_together(self) -> Iterator[Callable[[], bool]]:
        """Yield a function that tells, in all processes alike, whether one of them was asked to stop.

        Several processes must not leave between two exchanges: Ctrl-C and SIGTERM arrive when the block is done.
        One process need not be asked: they arrive at once.
        """
        if self.count == 1:
            yield lambda: False
            return
        with signals_held() as came:
            yield lambda: bool(self.sum(torch.tensor(float(bool(came)))))


@contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started, where it did; leave them when the block is done.

    Args:
        device: as `choose_compute` takes it; what lies on GPUs goes through NCCL, and all else through Gloo, such
            as numbers that decide what all do next.

    Raises:
        WorldModelError: there are more processes here than GPUs, or one GPU is named for all of them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    if device not in ("auto", "cpu", "cuda"):
        raise WorldModelError(f"Device '{device}' is one for several processes; expected 'auto', 'cpu' or 'cuda'.")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpus = device != "cpu" and torch.cuda.is_available()
    if on_gpus:
        if local >= torch.cuda.device_count():
            raise WorldModelError(
                f"Process {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}. Start "
                "torchrun with as many processes."
            )
        torch.cuda.set_device(local)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    except BaseException:
        if not on_gpus:  # NCCL would wait for the others, who wait for this one: torchrun stops them when it has left
            distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()
