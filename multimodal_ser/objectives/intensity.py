"""How intense emotion is, frame by frame: a value in [0, 1], from energy, arousal or a strength network.

A source is any callable from a waveform (S,) at 16 kHz to a `Curve`. Sources have frame rates of their own;
`at_times` brings a curve to the frames of a network by linear interpolation in time. (The published code
cuts or pads the list of 16 ms values to the list of 10 ms frames, so that its values stand at wrong times.)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.errors import InputError
from multimodal_ser.models.mel import HOP, SAMPLE_RATE, WINDOW
from multimodal_ser.models.strength import StrengthNet

ENERGY_WINDOW = 400  # samples, 25 ms


class Curve(NamedTuple):
    """Intensity over an utterance."""

    times: NDArray[np.float64]  # (n,) seconds, ascending
    values: NDArray[np.float64]  # (n,) from 0 to 1


Source = Callable[[NDArray[np.float32]], Curve]


def at_times(curve: Curve, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """The curve at other times; beyond its ends it keeps its first and last value."""
    if len(curve.times) != len(curve.values):
        raise InputError(f"an intensity curve has {len(curve.values)} values at {len(curve.times)} times")
    if len(curve.values) == 0:
        return np.zeros(len(times))
    if not np.isfinite(curve.values).all() or curve.values.min() < 0 or curve.values.max() > 1:
        raise InputError(
            f"intensity from {curve.values.min():.3g} to {curve.values.max():.3g}; it must lie from 0 to 1"
        )
    return np.interp(times, curve.times, curve.values)


def frame_times(frames: int, stack: int) -> NDArray[np.float64]:
    """The middle of each of `frames` spectral frames of `stack` hops, in seconds."""
    return (np.arange(frames) * stack * HOP + (WINDOW + (stack - 1) * HOP) / 2) / SAMPLE_RATE


def energy(waveform: NDArray[np.float32]) -> Curve:
    """Root mean square of 25 ms windows, 1 at the loudest of the utterance; silence is 0 everywhere."""
    if len(waveform) == 0:
        return Curve(np.zeros(0), np.zeros(0))
    padded = np.pad(np.asarray(waveform, dtype=np.float64), (0, max(0, ENERGY_WINDOW - len(waveform))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, ENERGY_WINDOW)[::HOP]
    level = np.sqrt(np.square(windows).mean(1))
    times = (np.arange(len(level)) * HOP + ENERGY_WINDOW / 2) / SAMPLE_RATE
    return Curve(times, level / level.max() if level.max() > 0 else level)


class SlidingArousal:
    """Arousal of a trained model on overlapping windows; the value of a window stands at its middle."""

    def __init__(
        self,
        arousal: Callable[[Sequence[NDArray[np.float32]]], Sequence[float]],
        window: float = 1.0,
        hop: float = 0.25,
    ) -> None:
        """arousal: from waveforms to arousal in unit scale. window, hop: seconds."""
        if window <= 0 or hop <= 0:
            raise InputError(f"window = {window} s, hop = {hop} s: both must be positive")
        self.arousal = arousal
        self.window = round(window * SAMPLE_RATE)
        self.hop = round(hop * SAMPLE_RATE)

    def __call__(self, waveform: NDArray[np.float32]) -> Curve:
        if len(waveform) == 0:
            return Curve(np.zeros(0), np.zeros(0))
        starts = range(0, max(1, len(waveform) - self.window + 1), self.hop)
        pieces = [waveform[start : start + self.window] for start in starts]
        middles = [start + len(piece) / 2 for start, piece in zip(starts, pieces, strict=True)]
        # A regressor may leave the unit scale by a little; intensity may not.
        values = np.clip(np.asarray(self.arousal(pieces), dtype=np.float64), 0, 1)
        return Curve(np.array(middles) / SAMPLE_RATE, values)


class LearnedStrength:
    """The frame scores of a `StrengthNet`."""

    def __init__(self, network: StrengthNet) -> None:
        self.network = network.eval()

    @torch.inference_mode()
    def __call__(self, waveform: NDArray[np.float32]) -> Curve:
        if len(waveform) == 0:
            return Curve(np.zeros(0), np.zeros(0))
        lengths = torch.tensor([len(waveform)])
        said = self.network(torch.as_tensor(np.asarray(waveform))[None].float(), lengths)
        values = said.frames[0].double().numpy()
        return Curve(frame_times(len(values), self.network.config.stack), values)
