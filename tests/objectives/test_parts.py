"""Parts of objectives: heads, the queue of keys, and what configurations refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.augment import AugmentConfig
from worldmodel.objectives.byol import BYOLConfig
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.heads import BatchNorm, HeadConfig
from worldmodel.objectives.mae import VideoMAEConfig
from worldmodel.objectives.masking import PatchConfig
from worldmodel.objectives.moco import MoCo, MoCoConfig
from worldmodel.objectives.objective import ClipTensors
from worldmodel.objectives.rotation import RotationConfig
from worldmodel.objectives.simclr import SimCLRConfig
from worldmodel.objectives.vicreg import VICRegConfig
from worldmodel.objectives.views import ViewsConfig


def test_batch_norm_is_torchs() -> None:
    x = 3 * torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) + 100
    norm = BatchNorm(5)
    torch.testing.assert_close(norm(x), F.batch_norm(x, None, None, training=True), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [30, 20])
def test_the_queue_forgets_the_oldest_keys(tiny_model: WorldModel, clips: ClipTensors, size: int) -> None:
    moco = MoCo(MoCoConfig(queue=size), model=tiny_model)
    first = moco.queue.clone()
    moco(tiny_model, clips, Draws(torch.Generator().manual_seed(0)))  # 24 keys
    assert torch.equal(moco.queue, first)
    moco.after_step(tiny_model, 0.0)
    fresh = min(24, size)
    assert (moco.queue[:fresh] != first[:fresh]).any(1).all()
    assert torch.equal(moco.queue[fresh:], first[fresh:])
    second = moco.queue.clone()
    moco(tiny_model, clips, Draws(torch.Generator().manual_seed(1)))
    moco.after_step(tiny_model, 0.0)
    changed = (moco.queue != second).any(1)
    if size == 30:  # 24 .. 29 and 0 .. 17
        assert changed[24:].all()
        assert changed[:18].all()
        assert not changed[18:24].any()
    torch.testing.assert_close(moco.queue.norm(dim=1), torch.ones(size))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AugmentConfig(shift=-1), "shift is -1; expected 0 pixels or more"),
        (lambda: AugmentConfig(hue=0.6), "hue is 0.6; expected a share between 0 and 0.5"),
        (lambda: HeadConfig(hidden=0), "hidden of a head is 0; expected at least 1"),
        (lambda: ViewsConfig(near=0), "near is 0; expected at least 1 frame"),
        (lambda: SimCLRConfig(temperature=0.0), "temperature is 0.0; expected more than 0"),
        (lambda: MoCoConfig(temperature=-1.0), "temperature is -1.0; expected more than 0"),
        (lambda: MoCoConfig(queue=0), "queue is 0; expected at least 1 key"),
        (lambda: BYOLConfig(predictor_width=0), "predictor_width is 0; expected at least 1"),
        (lambda: VICRegConfig(invariance=-1.0), "invariance is -1.0; expected 0 or more"),
        (lambda: PatchConfig(hidden=1.0), "hidden is 1.0; expected a share between 0 and 1"),
        (lambda: PatchConfig(patch=0), "patch is 0; expected at least 1 pixel"),
        (lambda: VideoMAEConfig(width=100, heads=3), "width is 100; expected a multiple of 2 [*] heads, 6"),
        (lambda: RotationConfig(hidden=0), "hidden of a head is 0"),
    ],
)
def test_wrong_values_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(WorldModelError, match=message):
        make()
