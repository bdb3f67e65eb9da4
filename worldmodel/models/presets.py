"""World models of three sizes."""

from __future__ import annotations

from worldmodel.errors import unknown_name
from worldmodel.models.decoder import DecoderConfig
from worldmodel.models.inverse import InverseDynamicsConfig
from worldmodel.models.predictor import PredictorConfig
from worldmodel.models.vit import ViTEncoderConfig
from worldmodel.models.world_model import WorldModelConfig

TINY = WorldModelConfig()
"""About 3 million parameters: learns in minutes on a processor's two cores."""

SMALL = WorldModelConfig(
    latent=192,
    encoder=ViTEncoderConfig(patch=8, width=192, depth=12, heads=3),
    predictor=PredictorConfig(token=512, width=1024, hidden=2560, dropout=0.1),
    inverse=InverseDynamicsConfig(width=512),
)
"""About 16 million parameters in encoder and predictor, 5 and 11: the size of LeWorldModel (Maes et al., 2026), for a
GPU. ViT-Tiny encodes; with frames of 224 pixels take `patch` 16, or 14 as they do."""

BASE = WorldModelConfig(
    latent=256,
    encoder=ViTEncoderConfig(patch=8, width=768, depth=12, heads=12),
    predictor=PredictorConfig(token=640, width=1280, hidden=4096, dropout=0.1),
    inverse=InverseDynamicsConfig(width=512),
    decoder=DecoderConfig(width=256),
)
"""About 104 million parameters in encoder and predictor, 85 and 19. ViT-Base encodes; with frames of 224 pixels take
`patch` 16."""

PRESETS: dict[str, WorldModelConfig] = {"tiny": TINY, "small": SMALL, "base": BASE}


def preset(name: str) -> WorldModelConfig:
    """Return the preset of this name.

    Raises:
        WorldModelError: there is none; names those that there are.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
