"""What every decoder offers and how it fails.

A decoder opens one file and yields mono float32 blocks at the file's own sampling rate, starting exactly at a
given frame (a frame is one sample of every channel) without decoding what lies before. Time zero is the first
decoded sample of the first audio stream. Channels are averaged; nothing is clipped or normalised.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from multimodal_ser.errors import InputError

MAX_CHANNELS = 32
BLOCK_SECONDS = 10  # decoded at a time: 3.5 MB for 44.1 kHz stereo
NO_SAMPLES = "holds no sound: 0 samples; probably a recording that was never finished"


class AudioError(InputError):
    """A sound file that cannot be used: one line with its name, the reason and the likely cause."""


class Unreadable(Exception):
    """This decoder does not know the file; the other one may."""


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file says about itself; `frames` counts samples of one channel at `sampling_rate`."""

    seconds: float
    frames: int
    sampling_rate: int
    channels: int
    container: str  # "wav", "mp3", "matroska" ...
    codec: str  # "pcm_16", "opus" ...


class Decoder(Protocol):
    """An open sound file."""

    rate: int  # Hz
    channels: int
    promised: int | None  # frames that the header claims; None = it does not say
    unfinished: bool  # the end mark of the format is missing
    broken_at: int | None  # frame at which damaged data began, known once they are reached

    def info(self) -> AudioInfo:
        """Length, rate and format, from the header wherever it says them."""

    def blocks(self, first: int, last: float) -> Iterator[np.ndarray]:
        """Mono blocks of the frames from `first` up to, not including, `last`; to be called once."""

    def close(self) -> None:
        """Give the file back."""


def downmix(channels: np.ndarray) -> np.ndarray:
    """The average over axis 0 of (channels, frames): added row by row, ten times faster than `mean`."""
    mono = channels[0].astype(np.float32)
    for channel in channels[1:]:
        mono += channel
    if len(channels) > 1:
        mono *= np.float32(1 / len(channels))
    return mono
