"""Spectral features for networks that reconstruct them: log-mel bands, deltas, mean and variance of a clip.

25 ms windows, 10 ms hops. B, S, T, F: clips, samples, frames, features. Each clip is brought to zero mean and
unit variance per feature over its own valid frames (CMVN); `stack` neighbouring 10 ms frames become one
frame. Padded frames are zero, and no valid frame knows of them.
"""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.models.encoding import AudioEncoder, Encoding, mask_from_lengths
from multimodal_ser.models.mel import HOP, SAMPLE_RATE, LogMel

DELTA_REACH = 2  # frames on each side that the regression of a delta sees
_FLAT = 1e-5  # variance below which a feature is not scaled up


class SpectralFeatures(nn.Module):
    """Log-mel bands, if wanted with first and second differences, normalised per clip and stacked.

    Without `normalise` only the level of a clip is taken out, and its mean spectrum stays.
    """

    def __init__(self, bands: int, deltas: bool = False, stack: int = 1, normalise: bool = True) -> None:
        super().__init__()
        self.normalise = normalise
        self.deltas = deltas
        self.stack = stack
        self.width = bands * (3 if deltas else 1) * stack
        self.log_mel = LogMel(bands, normalise_level=not normalise)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames (B,) of `lengths` (B,) samples; an incomplete last stack counts if it is alone."""
        frames = self.log_mel.frame_lengths(lengths)
        return frames.div(self.stack, rounding_mode="floor").clamp(min=1).where(frames > 0, 0)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """waveforms: (B, S), lengths: (B,); features (B, T, F) and mask (B, T)."""
        with torch.no_grad():
            x = self.log_mel(waveforms, lengths)
            mask = mask_from_lengths(self.log_mel.frame_lengths(lengths), x.shape[1])
            if self.deltas:
                first = _delta(x, mask)
                x = torch.cat([x, first, _delta(first, mask)], dim=-1)
            x = _normalised(x, mask) if self.normalise else x
            return self._stacked(x, lengths)

    def _stacked(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        room = -x.shape[1] % self.stack
        x = nn.functional.pad(x, (0, 0, 0, room)).unflatten(1, (-1, self.stack)).flatten(2)
        mask = mask_from_lengths(self.frame_lengths(lengths), x.shape[1])
        return x * mask[..., None], mask


class SpectralEncoder(AudioEncoder):
    """An encoder of these features, to which the intensity of the emotion may be added frame by frame."""

    sample_rate = SAMPLE_RATE
    config_type: type  # of the settings
    title: str  # of the network, in messages

    def __init__(self, config: Any, deltas: bool = False) -> None:
        super().__init__()
        self.config = config
        self.width = config.width
        self.num_layers = config.blocks
        self.frame_rate = SAMPLE_RATE / HOP / config.stack
        self.features = SpectralFeatures(config.bands, deltas, config.stack)

    @classmethod
    def from_config(cls, config: Any) -> "SpectralEncoder":
        """An untrained encoder; a dict with a setting that the network lacks is an error."""
        if isinstance(config, cls.config_type):
            return cls(config)
        known = list(asdict(cls.config_type()))
        if unknown := [key for key in config if key not in known]:
            hint = nearest(unknown[0], known)
            raise InputError(f"{cls.title}: unknown setting '{unknown[0]}'{hint}; known: {', '.join(known)}")
        return cls(cls.config_type(**config))

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return self.features.frame_lengths(lengths)

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        return self.forward_from_features(*self.features(waveforms, lengths), last_layer=last_layer)


def steered(features: Tensor, mask: Tensor, intensity: Tensor | None) -> Tensor:
    """Features (B, T, F) with the intensity (B, T) added, if there is one; zero in padded frames."""
    if intensity is not None:
        features = features + intensity[..., None]
    return features * mask[..., None]


def _delta(x: Tensor, mask: Tensor) -> Tensor:
    """The slope of a line over two frames on each side; edge frames stand for what is beyond them."""
    last = mask.sum(1).clamp(min=1) - 1
    place = torch.arange(x.shape[1], device=x.device)
    slope = torch.zeros_like(x)
    for step in range(1, DELTA_REACH + 1):
        after = torch.minimum(place + step, last[:, None])
        before = (place - step).clamp(min=0).expand_as(after)
        slope = slope + step * (_taken(x, after) - _taken(x, before))
    norm = 2 * sum(step * step for step in range(1, DELTA_REACH + 1))
    return slope / norm * mask[..., None]


def _taken(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


def _normalised(x: Tensor, mask: Tensor) -> Tensor:
    weight = mask[..., None].to(x.dtype)
    count = weight.sum(1, keepdim=True).clamp(min=1)
    centred = (x - (x * weight).sum(1, keepdim=True) / count) * weight
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / variance.clamp(min=_FLAT).sqrt()
