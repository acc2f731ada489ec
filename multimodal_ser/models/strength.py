"""How strong an emotion is, frame by frame: a network after StrengthNet (Liu et al., Interspeech 2022).

Spectral frames, 3x3 convolutions of which every third strides 3 in frequency, a bidirectional LSTM, and two
heads: strength per frame in [0, 1], whose mean is that of the utterance, and the emotion class. Only
utterances have targets, so the frames are weakly supervised.

Departures: the frames are this package's 10 ms log-mel frames, `stack` of them at a time, and the score
passes through a sigmoid, since intensity must stay in [0, 1]. A clip's mean spectrum stays in: normalised
away, as for reconstruction, it could not tell.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoder_folder import SETTINGS, check_keys, settings_of_format, write_folder
from multimodal_ser.models.encoding import load_strictly
from multimodal_ser.models.pretrained import read_weights
from multimodal_ser.models.spectral import SpectralFeatures

FORMAT = "multimodal_ser.strength"
SCHEMA_VERSION = 1
_SPREAD = 5.0  # log-mel bands of speech vary by about this much, in natural logarithms


@dataclass(frozen=True)
class StrengthConfig:
    """The size of a strength network."""

    bands: int = 80
    stack: int = 1
    channels: tuple[int, ...] = (16, 32, 64, 128)  # three convolutions each
    recurrent: int = 128  # width of the LSTM in each direction
    hidden: int = 128
    classes: int = 4
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if min(self.bands, self.stack, self.recurrent, self.hidden, self.classes, *self.channels) < 1:
            raise InputError(f"strength network: every size must be 1 or more, received {self}")


class Strength(NamedTuple):
    """What the network says."""

    frames: Tensor  # (B, T) from 0 to 1, 0 where padded
    utterance: Tensor  # (B,) mean over the valid frames
    logits: Tensor  # (B, classes)
    mask: Tensor  # (B, T)


class StrengthNet(nn.Module):
    """Convolutions, a bidirectional LSTM, a score per frame."""

    def __init__(self, config: StrengthConfig) -> None:
        super().__init__()
        self.config = config
        self.features = SpectralFeatures(config.bands, stack=config.stack, normalise=False)
        layers, inputs, bands = [], 1, self.features.width
        for channels in config.channels:
            for number in range(3):
                stride = 3 if number == 2 else 1
                layers.append(nn.Conv2d(inputs, channels, 3, stride=(1, stride), padding=1))
                inputs, bands = channels, (bands - 1) // stride + 1
        self.convolutions = nn.ModuleList(layers)
        self.recurrent = nn.LSTM(inputs * bands, config.recurrent, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.score = nn.Sequential(
            nn.Linear(2 * config.recurrent, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )
        self.classify = nn.Linear(2 * config.recurrent, config.classes)

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Strength:
        return self.forward_from_features(*self.features(waveforms, lengths))

    def forward_from_features(self, features: Tensor, mask: Tensor) -> Strength:
        """features: (B, T, F), mask: (B, T)."""
        x = features[:, None] / _SPREAD
        for convolution in self.convolutions:
            x = F.relu(convolution(x)) * mask[:, None, :, None]
        x = x.transpose(1, 2).flatten(2)
        counts = mask.sum(1)
        packed = pack_padded_sequence(x, counts.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        x = self.dropout(pad_packed_sequence(self.recurrent(packed)[0], True, total_length=x.shape[1])[0])
        frames = torch.sigmoid(self.score(x)[..., 0]) * mask
        count = counts.clamp(min=1)
        pooled = (x * mask[..., None]).sum(1) / count[:, None]
        return Strength(frames, frames.sum(1) / count, self.classify(pooled), mask)


def save_strength(network: StrengthNet, folder: str | os.PathLike) -> None:
    """Write a folder of settings and weights; `load_strength` reads it back."""
    header = {"format": FORMAT, "schema_version": SCHEMA_VERSION}
    write_folder(folder, network, {**header, **asdict(network.config)})


def load_strength(folder: str | os.PathLike) -> StrengthNet:
    """Read such a folder; a weight or a setting that is missing or left over is an error."""
    folder = Path(folder)
    settings = settings_of_format(folder, FORMAT, SCHEMA_VERSION)
    check_keys(settings, tuple(StrengthConfig.__dataclass_fields__), str(folder / SETTINGS))
    network = StrengthNet(StrengthConfig(**{**settings, "channels": tuple(settings["channels"])}))
    load_strictly(network, read_weights(folder), f"the weights in {folder}")
    return network.eval()


def strength_losses(said: Strength, targets: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Absolute error of the utterances and of the frames, and cross-entropy, equally weighted.

    targets: (B,) from 0 to 1; every frame is told the score of its utterance. classes: (B,), -1 = none.
    """
    utterance = (said.utterance - targets).abs().mean()
    errors = (said.frames - targets[:, None]).abs() * said.mask
    frame = errors.sum() / said.mask.sum().clamp(min=1)
    known = classes >= 0
    classification = (
        F.cross_entropy(said.logits[known], classes[known]) if known.any() else frame.new_zeros(())
    )
    return {
        "loss": utterance + frame + classification,
        "utterance": utterance,
        "frame": frame,
        "classes": classification,
    }
