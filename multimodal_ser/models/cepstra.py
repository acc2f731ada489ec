"""Mel-frequency cepstra: an encoder that has learned nothing and needs no weights.

13 cepstra of 40 log-mel bands with first and second differences, 39 numbers per frame of 25 ms every 20 ms:
as many frames, at the same times, as the convolutions of HuBERT have. The clusters of these are what the
first HuBERT was trained to tell (Hsu et al., 2021).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from multimodal_ser.models.encoding import AudioEncoder, Encoding
from multimodal_ser.models.mel import HOP, SAMPLE_RATE
from multimodal_ser.models.spectral import SpectralFeatures

NAME = "mfcc"  # stands for it where an encoder is named
_HOPS = 2  # 10 ms frames per frame


@dataclass(frozen=True)
class CepstraConfig:
    """The size of the analysis."""

    bands: int = 40
    cepstra: int = 13


class Cepstra(AudioEncoder):
    """One layer of cepstra and their differences."""

    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE / HOP / _HOPS
    num_layers = 0

    def __init__(self, config: CepstraConfig | None = None) -> None:
        super().__init__()
        self.config = config or CepstraConfig()
        self.width = 3 * self.config.cepstra
        self.features = SpectralFeatures(self.config.bands, deltas=True, normalise=False)
        self.register_buffer("transform", cosines(self.config.bands, self.config.cepstra), persistent=False)

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        self.blocks_to_run(last_layer)
        features, mask = self.features(waveforms, lengths)
        # Differences of cepstra are cepstra of differences, since both are linear.
        cepstra = features.unflatten(-1, (3, self.config.bands)) @ self.transform
        every = slice(None, None, _HOPS)
        return Encoding((cepstra.flatten(2)[:, every],), mask[:, every], self.frame_rate)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return (self.features.frame_lengths(lengths) + _HOPS - 1).div(_HOPS, rounding_mode="floor")

    def freeze_front_end(self) -> None:
        """There is nothing to train."""


def cosines(bands: int, cepstra: int) -> Tensor:
    """The first `cepstra` columns (bands, cepstra) of the orthonormal cosine transform."""
    place = (torch.arange(bands, dtype=torch.float64) + 0.5)[:, None]
    waves = torch.cos(math.pi / bands * place * torch.arange(cepstra, dtype=torch.float64))
    waves[:, 0] /= math.sqrt(2)
    return (waves * math.sqrt(2 / bands)).float()
