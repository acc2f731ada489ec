"""MockingJay (Liu et al., ICASSP 2020): a post-norm transformer on spectral frames, to reconstruct them.

The defaults are those of emotional masking (Liu & Ma, Interspeech 2024): 80 log-mel bands with deltas and
delta-deltas, 3 blocks of width 768. The intensity of the emotion, one value in [0, 1] per frame, is added to
every feature of its frame where it is given. Positions are sinusoidal.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import Encoding
from multimodal_ser.models.spectral import SpectralEncoder, steered


@dataclass(frozen=True)
class MockingjayConfig:
    """The size of a MockingJay network."""

    bands: int = 80
    deltas: bool = True
    stack: int = 1  # 10 ms frames that make one frame of the network
    width: int = 768
    blocks: int = 3
    heads: int = 12
    feedforward: int = 3072
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("bands", "stack", "width", "heads", "feedforward"):
            if getattr(self, name) < 1:
                raise InputError(f"MockingJay: {name} = {getattr(self, name)}; it must be 1 or more")
        if self.blocks < 0:
            raise InputError(f"MockingJay: blocks = {self.blocks}; it must be 0 or more")
        if self.width % self.heads or self.width % 2:
            raise InputError(
                f"MockingJay: width {self.width} must be even and a multiple of its {self.heads} heads"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"MockingJay: dropout = {self.dropout}; it must be from 0 to below 1")


class MockingjayEncoder(SpectralEncoder):
    """Spectral frames, a linear layer, positions and post-norm transformer blocks."""

    config_type, title = MockingjayConfig, "MockingJay"

    def __init__(self, config: MockingjayConfig) -> None:
        super().__init__(config, config.deltas)
        self.project = nn.Linear(self.features.width, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width,
                config.heads,
                config.feedforward,
                config.dropout,
                activation="gelu",
                batch_first=True,
            )
            for _ in range(config.blocks)
        )

    def freeze_front_end(self) -> None:
        for module in (self.project, self.norm):
            module.requires_grad_(False)

    def forward_from_features(
        self, features: Tensor, mask: Tensor, intensity: Tensor | None = None, last_layer: int | None = None
    ) -> Encoding:
        """features: (B, T, F), mask: (B, T), intensity: (B, T) or None."""
        count = self.blocks_to_run(last_layer)
        features = steered(features, mask, intensity).to(self.norm.weight.dtype)
        x = self.project(features) + positions(features.shape[1], self.width).to(features)
        x = self.dropout(self.norm(x))
        layers = [x]
        # A clip without a valid frame attends everywhere: its output means nothing, but must not be NaN.
        unheard = ~mask & mask.any(1, keepdim=True)
        for block in self.blocks[:count]:
            x = block(x, src_key_padding_mask=unheard)
            layers.append(x)
        return Encoding(tuple(layers), mask, self.frame_rate)


def positions(frames: int, width: int) -> Tensor:
    """Sines and cosines (frames, width) of wavelengths from 2 pi to 10,000 times 2 pi frames."""
    place = torch.arange(frames, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(place * rates), torch.cos(place * rates)], dim=-1).flatten(1)
