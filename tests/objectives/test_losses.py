"""Losses by their known answers, and against the values of lightly, a library of self-supervised objectives."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.objectives.byol import cosine
from worldmodel.objectives.moco import info_nce
from worldmodel.objectives.simclr import nt_xent
from worldmodel.objectives.vicreg import VICRegConfig, vicreg

LIGHTLY = Path(__file__).resolve().parents[2] / ".venv/readers/lightly"
PACKAGES = ("lightly", "lightly.loss", "lightly.models", "lightly.models.modules", "lightly.utils")
N, S, Q = 12, 16, 40


@pytest.fixture
def lightly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let single modules of lightly be imported: its packages import all there is, and torchvision with it."""
    if not LIGHTLY.is_dir():
        pytest.skip("lightly is not in .venv/readers; scripts/test installs it")
    before = set(sys.modules)
    for name in PACKAGES:
        package = ModuleType(name)
        package.__path__ = [str(LIGHTLY.joinpath(*name.split(".")[1:]))]
        monkeypatch.setitem(sys.modules, name, package)
    for parent, _, child in (name.rpartition(".") for name in PACKAGES[1:]):
        setattr(sys.modules[parent], child, sys.modules[f"{parent}.{child}"])
    utils = ModuleType("lightly.models.utils")  # the memory bank uses one function of it
    utils.deactivate_requires_grad = lambda module: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, utils.__name__, utils)
    sys.modules["lightly.models"].utils = utils  # type: ignore[attr-defined]
    yield
    for name in set(sys.modules) - before:
        if name.startswith("lightly."):
            del sys.modules[name]


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(N, S, generator=generator)
    return one, one + 0.7 * torch.randn(N, S, generator=generator)


@pytest.mark.usefixtures("lightly")
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent(temperature: float) -> None:
    theirs = importlib.import_module("lightly.loss.ntx_ent_loss").NTXentLoss(temperature=temperature)
    one, other = pair()
    loss, _ = nt_xent(torch.stack([one, other]), temperature)
    torch.testing.assert_close(loss, theirs(one, other))


@pytest.mark.usefixtures("lightly")
def test_info_nce_with_a_queue() -> None:
    theirs = importlib.import_module("lightly.loss.ntx_ent_loss").NTXentLoss(temperature=0.2, memory_bank_size=(Q, S))
    one, other = pair()
    expected = theirs(one, other)
    queue = theirs.memory_bank.bank
    queue = queue if queue.shape == (Q, S) else queue.T
    loss, _ = info_nce(F.normalize(one, dim=1), F.normalize(other, dim=1), queue, 0.2)
    torch.testing.assert_close(loss, expected)


@pytest.mark.usefixtures("lightly")
def test_vicreg() -> None:
    theirs = importlib.import_module("lightly.loss.vicreg_loss").VICRegLoss()
    one, other = pair()
    loss, _, _ = vicreg(0.5 * one, 0.5 * other, VICRegConfig())
    torch.testing.assert_close(loss, theirs(0.5 * one, 0.5 * other))


@pytest.mark.usefixtures("lightly")
def test_the_cosine_of_byol() -> None:
    theirs = importlib.import_module("lightly.loss.negative_cosine_similarity").NegativeCosineSimilarity()
    torch.testing.assert_close(cosine(*pair()), -theirs(*pair()))


def test_vicreg_by_hand() -> None:
    one = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [2.0, 1.0], [-2.0, -1.0]])
    other = torch.tensor([[1.0, 0.2], [-1.0, 0.2], [2.0, 1.0], [-2.0, -1.0]])
    loss, invariance, _ = vicreg(one, other, VICRegConfig())
    assert invariance.item() == pytest.approx(2 * 0.2**2 / 8)
    # about their means, the second dimensions have sums of squares of 2 and of 2.08 - 4 * 0.1^2; products add up to 4
    variances = 0.5 * (1 - math.sqrt(2 / 3 + 1e-4)) + 0.5 * (1 - math.sqrt(2.04 / 3 + 1e-4))
    covariances = 2 * (2 * (4 / 3) ** 2 / 2)
    assert loss.item() == pytest.approx(25 * 0.01 + 12.5 * variances + covariances, rel=1e-5)


def test_info_nce_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    keys = torch.tensor([[0.8, 0.6], [0.0, 1.0]])  # cosines of 0.8 and 0.8 to them
    queue = torch.tensor([[0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])  # of 0, 1 and -1, and of -0.8, 0.6 and -0.6
    first = math.exp(1.6) / (math.exp(1.6) + math.exp(0.0) + math.exp(2.0) + math.exp(-2.0))
    second = math.exp(1.6) / (math.exp(1.6) + math.exp(-1.6) + math.exp(1.2) + math.exp(-1.2))
    loss, accuracy = info_nce(queries, keys, queue, 0.5)
    assert loss.item() == pytest.approx(-(math.log(first) + math.log(second)) / 2, rel=1e-5)
    assert accuracy == 0.5


def test_cosines_by_hand() -> None:
    one = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert cosine(one, 3 * one).item() == pytest.approx(1)
    assert cosine(one, one.flip(0)).item() == pytest.approx(0)
    assert cosine(one, -one).item() == pytest.approx(-1)
    assert cosine(one, torch.tensor([[5.0, 0.0], [4.0, 3.0]])).item() == pytest.approx((1 + 0.6) / 2)


def test_accuracy_tells_right_pairs_from_wrong_ones() -> None:
    views = torch.eye(N).expand(2, N, N)
    loss, accuracy = nt_xent(views, 0.1)
    assert accuracy == 1
    # one right view at exp(10), 2 N - 2 others at exp(0)
    assert loss.item() == pytest.approx(torch.tensor(1 + (2 * N - 2) * torch.e**-10).log().item(), rel=1e-3)
    assert nt_xent(torch.stack([torch.eye(N), torch.eye(N).roll(1, 0)]), 0.1)[1] == 0
    assert info_nce(torch.eye(N), torch.eye(N), -torch.eye(N), 0.2)[1] == 1
    assert info_nce(torch.eye(N), -torch.eye(N), torch.eye(N), 0.2)[1] == 0
