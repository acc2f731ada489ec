"""Pitch by autocorrelation with a path over frames, after Boersma (1993), as in Praat.

Each frame offers its strongest candidates and "unvoiced"; the path through all frames that is best in sum
is taken, where a jump in pitch and a change of voicing cost something. T frames, C candidates, hertz.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

RANGE = (60.0, 500.0)  # Hz
CANDIDATES = 8
OCTAVE_COST = 0.05  # of height, per octave down: a period's multiples fit as well, and jitter favours them
JUMP_COST = 0.35  # per octave from one frame to the next, for frames of 10 ms
SWITCH_COST = 0.14  # of a change between voiced and unvoiced
VOICED = 0.45  # height of the autocorrelation that a voiced frame has
_TINY = 1e-10


def track(frames: NDArray[np.float64], sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch (T,) in Hz, NaN where unvoiced, and the height of the autocorrelation there, of frames (T, S)."""
    pitch, height = _candidates(frames, sample_rate)
    strength = height - OCTAVE_COST * np.log2(RANGE[1] / pitch)
    strength[:, 0] = VOICED
    path = _best_path(
        np.log2(pitch), np.where(np.isfinite(height) | (np.arange(pitch.shape[1]) == 0), strength, -9.0)
    )
    rows = np.arange(len(path))
    is_voiced = path > 0
    return np.where(is_voiced, pitch[rows, path], np.nan), np.where(is_voiced, height[rows, path], 0.0)


def _candidates(
    frames: NDArray[np.float64], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch and height (T, C) of the highest peaks; column 0 stands for unvoiced, no peak has height -inf."""
    height = _normalised_autocorrelation(frames, int(sample_rate / RANGE[0]) + 2)
    first = int(sample_rate / RANGE[1])
    before, here, after = (height[:, first + step : height.shape[1] - 1 + step] for step in (-1, 0, 1))
    # A parabola through three samples: without it short periods, coarsely sampled, lose to their multiples.
    shift = (before - after) / (2 * np.minimum(before - 2 * here + after, -_TINY))
    is_peak = (here > before) & (here >= after)
    peak = np.where(is_peak, np.clip(here - (before - after) * shift / 4, 0, 1 - 1e-6), -np.inf)
    highest = np.argpartition(-peak, CANDIDATES - 2, axis=1)[:, : CANDIDATES - 1]
    highest = np.take_along_axis(highest, np.argsort(-np.take_along_axis(peak, highest, 1), axis=1), 1)
    lag = np.arange(first, height.shape[1] - 1)[highest] + np.take_along_axis(
        np.clip(shift, -1, 1), highest, 1
    )
    heights = np.take_along_axis(peak, highest, 1)
    unvoiced = np.ones((len(frames), 1))
    return np.hstack([RANGE[1] * unvoiced, sample_rate / lag]), np.hstack([-np.inf * unvoiced, heights])


def _normalised_autocorrelation(frames: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Autocorrelation (T, lags) of windowed frames over that of the window: 1 for whatever is periodic."""
    length = frames.shape[1]
    window = np.hanning(length)
    size = fft.next_fast_len(length + lags, real=True)  # what wraps around lands behind the last lag

    def correlation(x: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = fft.rfft(x, size)
        return fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[..., :lags]

    raw, own = correlation((frames - frames.mean(1, keepdims=True)) * window), correlation(window)
    return raw / np.maximum(raw[:, :1], _TINY**2) / (own / own[0])


def _best_path(octaves: NDArray[np.float64], strength: NDArray[np.float64]) -> NDArray[np.int64]:
    """The candidate of each frame on the path with the largest sum of strengths less costs (Viterbi)."""
    count, candidates = strength.shape
    is_voiced = np.arange(candidates) > 0
    switch = SWITCH_COST * (is_voiced[:, None] != is_voiced)
    both = is_voiced[:, None] & is_voiced
    # Row, candidate after, candidate before: the best is looked for along the last axis.
    jumps = np.where(both, JUMP_COST * np.abs(octaves[1:, :, None] - octaves[:-1, None, :]), switch)
    score, origin = strength[0], np.zeros((count, candidates), dtype=np.int64)
    each = np.arange(candidates)
    for row in range(1, count):
        total = score - jumps[row - 1]
        origin[row] = total.argmax(1)
        score = total[each, origin[row]] + strength[row]
    path = np.empty(count, dtype=np.int64)
    path[-1] = score.argmax()
    for row in range(count - 1, 0, -1):
        path[row - 1] = origin[row, path[row]]
    return path
