"""From visible latents and actions to the latents of masked future frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.proprioception import ProprioceptionEmbedding


@dataclass(frozen=True)
class PredictorConfig:
    """A small causal transformer.

    Attributes:
        width: size of a token.
        depth: number of blocks.
        heads: attention heads; divides `width`.
        positions: longest clip, visible and masked frames together; training clips are as long.
        dropout: share of activations dropped in training.
    """

    width: int = 128
    depth: int = 3
    heads: int = 4
    positions: int = 8
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "depth", "positions"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least 1.")
        if not 0 <= self.dropout < 1:
            raise WorldModelError(f"dropout is {self.dropout}; expected 0 or a share below 1.")
        if self.heads < 1 or self.width % self.heads:
            raise WorldModelError(f"heads is {self.heads}; expected a divisor of width ({self.width}).")


@dataclass(frozen=True)
class Memory:
    """What the masked positions need of the visible ones: keys and values of every block.

    Attributes:
        keys, values: for each block, `[B, heads, C, width / heads]`.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        return self.keys[0].shape[2]


class Predictor(nn.Module):
    """Forecast every masked latent of a clip in one pass.

    Position t holds the latent of frame t where it is visible, else a learned mask token; to it come a
    position embedding and the action block that led into the frame, or a learned no-action token; to a visible frame
    also what the robot felt of its joints, where the model has proprioception. The
    attention is causal, so position t sees only what came before it: what the visible positions
    compute is the same whatever is planned after them, and is computed once for all plans (`remember`).

    Shapes: B clips, L frames, C of them visible, M masked, D latent, U size of a flat action block, P numbers felt.

    Args:
        latent: D.
        action: U.
        felt: P; 0 for a model without proprioception, to which what was felt makes no difference.

    Source: the mask token of BERT (Devlin et al., 2019) with the causal attention of GPT (Radford et al.,
    2018). Differs: latents in place of words, and the mask is always the end of the clip.
    """

    def __init__(self, config: PredictorConfig, *, latent: int, action: int, felt: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embed_latent = nn.Linear(latent, config.width)
        self.embed_action = nn.Sequential(
            nn.Linear(action, config.width), nn.GELU("tanh"), nn.Linear(config.width, config.width)
        )
        self.mask_token = nn.Parameter(torch.randn(config.width) * 0.02)
        self.no_action = nn.Parameter(torch.randn(config.width) * 0.02)
        self.position = nn.Parameter(torch.randn(config.positions, config.width) * 0.02)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.forecast = nn.Linear(config.width, latent)
        self.feel = ProprioceptionEmbedding(felt, config.width) if felt else None

    def forward(
        self,
        latents: Tensor,
        visible: Tensor,
        actions: Tensor,
        acted: Tensor | None = None,
        *,
        felt: Tensor | None = None,
        feels: Tensor | None = None,
    ) -> Tensor:
        """Forecast a whole clip.

        Args:
            latents: `[B, L, D]`; those of masked frames are not looked at.
            visible: `[B, L]` bool, true at the beginning of each clip, then false.
            actions: `[B, L - 1, U]`, in [-1, 1]; block t leads from frame t to frame t + 1.
            acted: `[B]` bool; a clip where it is false is forecast without its actions. All true when left out.
            felt: `[B, L, P]`, in physical units; that of masked frames is not looked at. None where nobody knows it.
            feels: `[B]` bool; a clip where it is false is forecast without what was felt. All true when left out.

        Returns:
            `[B, L, D]`: a forecast at every position; those at masked frames have seen no later frame.
        """
        tokens = torch.where(visible[..., None], self._seen(latents, felt, feels), self.mask_token)
        led_by = self._led_by(actions, start=True)
        if acted is not None:
            led_by = torch.where(acted[:, None, None], led_by, self.no_action.to(led_by.dtype))
        x = tokens + led_by + self._positions(0, latents.shape[1])
        for block in self.blocks:
            x = block(x, None, None)
        forecast: Tensor = self.forecast(self.norm(x))
        return forecast

    def remember(self, latents: Tensor, actions: Tensor, felt: Tensor | None = None) -> Memory:
        """Compute, once, what visible frames contribute to any future.

        Args:
            latents: `[B, C, D]`, all visible.
            actions: `[B, C - 1, U]` between them.
            felt: `[B, C, P]` at them, in physical units; None where nobody knows it.
        """
        x = self._seen(latents, felt) + self._led_by(actions, start=True) + self._positions(0, latents.shape[1])
        keys, values = [], []
        for block in self.blocks:
            assert isinstance(block, _Block)
            key, value = block.keys_and_values(x)
            keys.append(key)
            values.append(value)
            x = block(x, None, None)
        return Memory(tuple(keys), tuple(values))

    def imagine(self, memory: Memory, actions: Tensor) -> Tensor:
        """Forecast masked frames for N plans from each memory.

        Shapes: B memories, N plans each, M masked frames.

        Args:
            actions: `[B, N, M, U]`; block 0 leads from the last visible frame to the first masked one.

        Returns:
            `[B, N, M, D]`, as `forward` would forecast them.
        """
        b, n, m, _ = actions.shape
        x = self.mask_token + self._led_by(actions.flatten(0, 1), start=False) + self._positions(memory.length, m)
        for block, key, value in zip(self.blocks, memory.keys, memory.values, strict=True):
            x = block(x, key, value)
        forecast: Tensor = self.forecast(self.norm(x))
        return forecast.view(b, n, m, -1)

    def _seen(self, latents: Tensor, felt: Tensor | None, feels: Tensor | None = None) -> Tensor:
        """Embed visible frames, with what was felt at them."""
        embedded: Tensor = self.embed_latent(latents)
        return embedded if self.feel is None else embedded + self.feel(felt, feels)

    def _led_by(self, actions: Tensor, *, start: bool) -> Tensor:
        """Embed the action block that led into each position; with `start`, no action led into the first."""
        embedded: Tensor = self.embed_action(actions)
        if not start:
            return embedded
        first = self.no_action.to(embedded.dtype).expand(len(actions), 1, -1)
        return torch.cat([first, embedded], dim=1)

    def _positions(self, start: int, count: int) -> Tensor:
        if start + count > self.config.positions:
            raise WorldModelError(
                f"A clip of {start + count} frames is longer than the predictor's {self.config.positions} positions. "
                "Plan or train with fewer frames, or raise predictor.positions."
            )
        return self.position[start : start + count]


class _Block(nn.Module):
    """Attention, then a perceptron, each added to its normalised input."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.norm_attention = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.merge = nn.Linear(config.width, config.width)
        self.norm_mlp = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, 4 * config.width)
        self.narrow = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor, key: Tensor | None, value: Tensor | None) -> Tensor:
        """Map `[B * N, M, width]`; `key` and `value`, if given, are of C earlier positions, `[B, heads, C, .]`."""
        q, k, v = self._heads(x)
        if key is None or value is None:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mixed = _attend_to_memory(q, k, v, key, value)
        x = x + self._drop(self.merge(mixed.transpose(1, 2).flatten(2)))
        hidden = F.gelu(self.widen(self.norm_mlp(x)), approximate="tanh")
        out: Tensor = x + self._drop(self.narrow(hidden))
        return out

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        _, key, value = self._heads(x)
        return key, value

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)
        shape = (*x.shape[:2], self.heads, -1)
        return q.view(shape).transpose(1, 2), k.view(shape).transpose(1, 2), v.view(shape).transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def _attend_to_memory(q: Tensor, k: Tensor, v: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend to all of the memory, and causally to the positions themselves.

    Shapes: q, k, v `[B * N, heads, M, d]`; key, value `[B, heads, C, d]`.
    """
    plans = len(q) // len(key)
    c, m = key.shape[2], q.shape[2]
    key = key[:, None].expand(-1, plans, -1, -1, -1).flatten(0, 1).to(k.dtype)
    value = value[:, None].expand(-1, plans, -1, -1, -1).flatten(0, 1).to(v.dtype)
    mask = torch.ones(m, c + m, dtype=torch.bool, device=q.device).tril(c)
    return F.scaled_dot_product_attention(q, torch.cat([key, k], 2), torch.cat([value, v], 2), attn_mask=mask)
