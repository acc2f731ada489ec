"""Log-mel bands and how fast they change: an encoder that has learned nothing, for a handful of speakers.

The states are the bands of every fourth 10 ms frame and the size of their change over a few spans around it,
shifted and scaled by round figures of speech. What is left to learn from are means and deviations of these:
with eight speakers a network above the bands learns who speaks.

Only frames with speech are valid, those less than some 13 dB below the mean level of speech: the mask of a
clip can have holes, pauses and silence around a clip are not heard, and a clip of silence has no valid frame.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder, Encoding, mask_from_lengths
from multimodal_ser.models.mel import HOP, SAMPLE_RATE, LogMel

_GATE = -3.0  # natural logarithm of the power of a frame, relative to speech
_MIDDLE, _SPREAD = -3.0, 2.0  # of the logarithmic bands of speech
_CHANGE = 0.75  # mean size, and spread, of a change over one frame; it grows with the root of the span


@dataclass(frozen=True)
class BandsConfig:
    """The size of the analysis."""

    bands: int = 64
    changes: tuple[int, ...] = (1, 2, 4, 8)  # spans in frames of 10 ms
    stride: int = 4  # frames of 10 ms

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", tuple(self.changes))
        for name in ("bands", "stride"):
            if getattr(self, name) < 1:
                raise InputError(f"bands encoder: {name} = {getattr(self, name)}; it must be 1 or more")
        if any(span < 1 for span in self.changes):
            raise InputError(f"bands encoder: changes = {list(self.changes)}; each must be 1 or more")


class BandsEncoder(AudioEncoder):
    """One layer: bands (D = bands x (1 + spans)) of the frames in which somebody speaks."""

    sample_rate = SAMPLE_RATE
    num_layers = 0

    def __init__(self, config: BandsConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.bands * (1 + len(config.changes))
        self.frame_rate = SAMPLE_RATE / HOP / config.stride
        self.log_mel = LogMel(config.bands, normalise_level=True, speech_level=True)

    @classmethod
    def from_config(cls, config: BandsConfig | dict[str, Any]) -> "BandsEncoder":
        """The encoder; there are no weights."""
        return cls(config if isinstance(config, BandsConfig) else BandsConfig(**config))

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        stride = self.config.stride
        return (self.log_mel.frame_lengths(lengths) + stride - 1).div(stride, rounding_mode="floor")

    def freeze_front_end(self) -> None:
        """There is nothing to train."""

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        self.blocks_to_run(last_layer)
        every, frames = self.log_mel(waveforms, lengths), self.log_mel.frame_lengths(lengths)
        places = torch.arange(0, every.shape[1], self.config.stride, device=every.device)
        bands = every[:, places]
        parts = [(bands - _MIDDLE) / _SPREAD]
        for span in self.config.changes:
            usual = _CHANGE * math.sqrt(span)
            parts.append((_changes(every, frames, places, span) - usual) / usual)
        is_speech = bands.logsumexp(2) - math.log(bands.shape[2]) > _GATE
        mask = mask_from_lengths(self.frame_lengths(lengths), bands.shape[1]) & is_speech
        return Encoding((torch.cat(parts, dim=2),), mask, self.frame_rate)


def _changes(bands: Tensor, frames: Tensor, places: Tensor, span: int) -> Tensor:
    """How far each band (B, F, bands) moves within `span` frames around each of P places: (B, P, bands)."""
    # Beyond its ends a clip stands still.
    last = (frames - 1).clamp(min=0)[:, None]
    # A place behind the end of a clip reads its last frame, so that nothing is read from padding.
    later = torch.minimum(places + (span - span // 2), last)
    earlier = torch.minimum((places - span // 2).clamp(min=0), last)
    moved = [bands.gather(1, x[..., None].expand(-1, -1, bands.shape[2])) for x in (later, earlier)]
    return (moved[0] - moved[1]).abs()
