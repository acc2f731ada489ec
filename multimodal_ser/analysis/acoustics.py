"""An interpretable acoustic set for one utterance, after the definitions of eGeMAPS (Eyben et al., 2016).

Waveforms are mono, -1..1. Frames start every `HOP` seconds. Where the definition departs from eGeMAPS it
says so: loudness is a level in dB, not sones; pitch comes from autocorrelation, not from subharmonic
summation.

- pitch, pitch_spread: median over voiced frames and standard deviation, semitones above 27.5 Hz (eGeMAPS'
  scale)
- pitch_slope: regression of pitch on time over voiced frames, semitones per second
- loudness, loudness_spread: mean level in dBFS over speech frames, and its standard deviation. A full-scale
  sine is -3.01
- rate: maxima per second of the band-limited envelope under 10 Hz: about syllables per second
- modulation: share of the envelope's 1 to 16 Hz spectrum that lies at 2.5 to 6.5 Hz, the pace of syllables
- slope_low, slope_high: regression of level on frequency in 0-500 and 500-1500 Hz of voiced frames, dB per
  kHz
- alpha_ratio: level of 50-1000 Hz over that of 1-5 kHz, dB, voiced frames
- hammarberg: strongest peak of 0-2 kHz over the strongest of 2-5 kHz, dB, voiced frames
- jitter: mean absolute difference of consecutive periods over the mean period, from marks of the cycles
- shimmer: mean absolute difference in dB of the peaks of consecutive periods
- hnr: harmonics-to-noise ratio, dB, from the height of the autocorrelation (Boersma, 1993)
- voicing: share of speech frames that are voiced
- pauses, pause_length: share of the time between first and last speech frame that is no speech, mean
  seconds of a pause

What cannot be measured, such as pitch without voice, is NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft

from multimodal_ser.analysis.periods import cycles, perturbation
from multimodal_ser.analysis.pitch import track
from multimodal_ser.audio import SAMPLE_RATE

HOP = 0.01  # seconds
FRAME = 0.04  # seconds: pitch needs three periods of the lowest voice, 75 Hz
SPEECH_RANGE = 30.0  # dB below the loud frames (95th percentile) down to which a frame is speech
SHORTEST_PAUSE = 0.1  # seconds
REFERENCE_PITCH = 27.5  # Hz, semitone 0
ENVELOPE_BAND = (300.0, 2500.0)  # Hz: vowels, neither hum nor hiss
ENVELOPE_CUT = 10.0  # Hz
PROMINENCE = 2.0  # dB by which a maximum of the envelope stands out
_TINY = 1e-10

NAMES = (
    "pitch", "pitch_spread", "pitch_slope", "loudness", "loudness_spread", "rate", "modulation",
    "slope_low", "slope_high", "alpha_ratio", "hammarberg", "jitter", "shimmer", "hnr",
    "voicing", "pauses", "pause_length",
)  # fmt: skip


@dataclass(frozen=True)
class _Frames:
    """What is known of each frame. (T,) except the spectrum."""

    level: NDArray[np.float64]  # dBFS
    pitch: NDArray[np.float64]  # Hz, NaN where unvoiced
    height: NDArray[np.float64]  # of the normalised autocorrelation at the pitch period
    spectrum: NDArray[np.float64]  # (T, bins) power
    frequencies: NDArray[np.float64]  # (bins,) Hz
    is_speech: NDArray[np.bool_]

    @property
    def is_voiced(self) -> NDArray[np.bool_]:
        return self.is_speech & ~np.isnan(self.pitch)


def acoustic_set(waveform: NDArray, sample_rate: int = SAMPLE_RATE) -> dict[str, float]:
    """All measures of `NAMES` for one waveform (S,)."""
    samples = np.asarray(waveform, dtype=np.float64)
    if samples.size < 2 * FRAME * sample_rate or not np.abs(samples).max() > 0:
        return dict.fromkeys(NAMES, float("nan"))
    samples = samples - samples.mean()
    frames = _frames(samples, sample_rate)
    values = _pitch(frames) | _loudness(frames) | _spectral(frames) | _pauses(frames)
    values |= _rhythm(samples, sample_rate)
    marks = cycles(samples, frames.pitch, frames.is_voiced, HOP, FRAME, sample_rate)
    values["jitter"], values["shimmer"] = perturbation(samples, marks, sample_rate)
    return {name: float(values[name]) for name in NAMES}


def _frames(samples: NDArray[np.float64], sample_rate: int) -> _Frames:
    size, hop = round(FRAME * sample_rate), round(HOP * sample_rate)
    cut = sliding_window_view(samples, size)[::hop]
    window = np.hanning(size)
    level = 10 * np.log10(np.square(cut).mean(1) + _TINY)
    pitch, height = track(cut, sample_rate)
    loud = np.quantile(level, 0.95)
    spectrum = np.abs(fft.rfft(cut * window, axis=1)) ** 2
    frequencies = fft.rfftfreq(size, 1 / sample_rate)
    return _Frames(level, pitch, height, spectrum, frequencies, level > loud - SPEECH_RANGE)


def _pitch(frames: _Frames) -> dict[str, float]:
    voiced = frames.is_voiced
    if voiced.sum() < 3:
        return dict.fromkeys(("pitch", "pitch_spread", "pitch_slope", "hnr"), float("nan"))
    semitones = 12 * np.log2(frames.pitch[voiced] / REFERENCE_PITCH)
    heights = frames.height[voiced]
    return {
        "pitch": np.median(semitones),
        "pitch_spread": semitones.std(),
        "pitch_slope": np.polyfit(np.flatnonzero(voiced) * HOP, semitones, 1)[0],
        "hnr": np.mean(10 * np.log10(heights / (1 - heights))),
    }


def _loudness(frames: _Frames) -> dict[str, float]:
    level = frames.level[frames.is_speech]
    return {
        "loudness": 10 * np.log10(np.mean(10 ** (level / 10))),
        "loudness_spread": level.std(),
        "voicing": frames.is_voiced.sum() / frames.is_speech.sum(),
    }


def _spectral(frames: _Frames) -> dict[str, float]:
    if not frames.is_voiced.any():
        return dict.fromkeys(("slope_low", "slope_high", "alpha_ratio", "hammarberg"), float("nan"))
    power = frames.spectrum[frames.is_voiced] + _TINY
    hertz = frames.frequencies

    def band(low: float, high: float) -> NDArray[np.float64]:
        return power[:, (hertz >= low) & (hertz <= high)]

    def slope(low: float, high: float) -> float:
        inside = (hertz > low) & (hertz <= high)
        levels = 10 * np.log10(power[:, inside])
        return np.polyfit(hertz[inside] / 1000, levels.mean(0), 1)[0]

    def decibels(over: NDArray, under: NDArray) -> float:
        return np.mean(10 * np.log10(over / under))

    return {
        "slope_low": slope(0, 500),
        "slope_high": slope(500, 1500),
        "alpha_ratio": decibels(band(50, 1000).sum(1), band(1000, 5000).sum(1)),
        "hammarberg": decibels(band(0, 2000).max(1), band(2000, 5000).max(1)),
    }


def _pauses(frames: _Frames) -> dict[str, float]:
    at = np.flatnonzero(frames.is_speech)
    inside = ~frames.is_speech[at[0] : at[-1] + 1]
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    lengths = (edges[1::2] - edges[::2]) * HOP
    lengths = lengths[lengths >= SHORTEST_PAUSE - HOP / 2]
    return {
        "pauses": lengths.sum() / (len(inside) * HOP),
        "pause_length": lengths.mean() if lengths.size else 0.0,
    }


def _rhythm(samples: NDArray[np.float64], sample_rate: int) -> dict[str, float]:
    """Syllable-like maxima per second, and the share of slow modulation at the pace of syllables."""
    envelope, rate = _envelope(samples, sample_rate)
    seconds = len(envelope) / rate
    level = 10 * np.log10(np.maximum(envelope, envelope.max() * 1e-4))
    centred = envelope - envelope.mean()
    spectrum = np.abs(fft.rfft(centred * np.hanning(len(centred)))) ** 2
    hertz = fft.rfftfreq(len(centred), 1 / rate)
    slow = spectrum[(hertz >= 1) & (hertz <= 16)].sum()
    paced = spectrum[(hertz >= 2.5) & (hertz <= 6.5)].sum()
    return {"rate": _maxima(level) / seconds, "modulation": paced / slow if slow > 0 else float("nan")}


def _envelope(samples: NDArray[np.float64], sample_rate: int) -> tuple[NDArray[np.float64], float]:
    """Power of `ENVELOPE_BAND` below `ENVELOPE_CUT`, and its samples per second."""
    size = len(samples)
    spectrum = fft.rfft(samples)
    hertz = fft.rfftfreq(size, 1 / sample_rate)
    spectrum[(hertz < ENVELOPE_BAND[0]) | (hertz > ENVELOPE_BAND[1])] = 0
    power = fft.irfft(spectrum, size) ** 2
    smooth = np.exp(-0.5 * (hertz / (ENVELOPE_CUT / 2)) ** 2)  # a Gaussian does not ring
    step = max(1, round(HOP * sample_rate))
    return np.maximum(fft.irfft(fft.rfft(power) * smooth, size), 0)[::step], sample_rate / step


def _maxima(level: NDArray[np.float64]) -> int:
    """How many maxima stand out by `PROMINENCE` from the dips on both sides."""
    count, low, high = 0, level[0], -np.inf
    for value in level:
        if value > high and value > low + PROMINENCE:
            high = value
        elif high > -np.inf and value < high - PROMINENCE:
            count, low, high = count + 1, value, -np.inf
        if high == -np.inf:
            low = min(low, value)
    return count
