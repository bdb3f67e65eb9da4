"""A step's work for a GPU, recorded once and asked for again: the processor no longer names every operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from worldmodel.errors import WorldModelError

Told = tuple[dict[str, Tensor], list[Tensor]]  # a step's logs, and the loss of each of its parts


class Replay:
    """Do a step's forward and backward pass as one CUDA graph.

    Networks of these sizes keep a GPU waiting: it is done with an operation before the processor has asked for the
    next. The first steps run as they are; then one is recorded, and from there on all of them are asked for at once.

    What is done again reads the same memory each time, so batches must come to the same place (`feed`), and nothing
    that steps differ in may be decided by the processor (`Stage.replays`). Random draws do follow the generators, which
    are seeded anew for each step.

    Args:
        parameters: that the work leaves gradients at.
        generator: that the work draws from, beside PyTorch's own.

    Source: Nguyen et al., Accelerating PyTorch with CUDA graphs, 2021.
    """

    AS_IT_IS = 3  # steps before one is recorded: libraries make themselves ready in them

    def __init__(self, parameters: Iterable[nn.Parameter], generator: torch.Generator) -> None:
        self._parameters, self._generator = list(parameters), generator
        self._stream = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]
        self._before = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._work: Callable[[], Told] | None = None  # holds what the graph reads
        self._told: Told = {}, []
        self._gradients: list[Tensor | None] = []

    def __call__(self, work: Callable[[], Told]) -> Told:
        """Do `work` and return what it tells; of a recorded step, what the next one will write over."""
        if self._graph is None and self._before < self.AS_IT_IS:
            self._before += 1
            return self._aside(work)
        if self._graph is None:
            self._graph = self._record(work)
        self._graph.replay()
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient  # the optimiser lets go of them
        return self._told

    def _aside(self, work: Callable[[], Told]) -> Told:
        """Do it on the stream that will record it, to which autograd then keeps."""
        current = torch.cuda.current_stream(self._generator.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            told = work()
        current.wait_stream(self._stream)
        return told

    def _record(self, work: Callable[[], Told]) -> torch.cuda.CUDAGraph:
        """Record `work`, which is not done by that.

        Raises:
            WorldModelError: it makes the processor wait for the GPU, and cannot be recorded.
        """
        device = self._stream.device
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        try:  # a recording that fails leaves its stream behind as the current one
            with (
                torch.cuda.device(device),
                torch.cuda.stream(torch.cuda.current_stream(device)),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"),
            ):
                self._told = work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            cause = error.__context__ or error  # ending what has failed fails, too
            raise WorldModelError(
                f"A training step cannot be recorded on this GPU: {str(cause).splitlines()[0]}. The last checkpoint is "
                "kept. Go on with `worldmodel train` and --no-replay, which asks the GPU for each operation by itself."
            ) from error
        self._work = work
        self._gradients = [parameter.grad for parameter in self._parameters]
        return graph
