"""The signal side of the synthetic voice: a pulse train and noise, filtered frame by frame.

The source is a train of band-limited glottal pulses with breath noise; the filter is a cascade of five
resonances (Klatt, 1980). Filtering multiplies the short-time spectrum by the response of that moment, so the
resonances may move and nothing runs sample by sample. Control tracks have CONTROL_RATE steps a second (C),
sound has SAMPLE_RATE samples (S); frequencies are hertz.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from multimodal_ser.audio import SAMPLE_RATE

CONTROL_RATE = 200  # Hz: steps of pitch and levels
SAMPLES_PER_CONTROL = SAMPLE_RATE // CONTROL_RATE
_HOP = SAMPLE_RATE // 100  # samples: steps of the resonances
_FRAME = 2 * _HOP  # samples under the Hann window
_FFT = 4 * _HOP  # samples: leaves 20 ms for the resonances to die away
_BANDWIDTHS = (70.0, 100.0, 140.0)  # Hz, first three formants
_HIGH_FORMANTS = ((3500.0, 200.0), (4500.0, 300.0))  # Hz: frequency and bandwidth, the same in all phones
_SINC_REACH = 3  # samples on each side of a glottal pulse


@dataclass(frozen=True)
class Controls:
    """What moves while speaking."""

    pitch: np.ndarray  # (C,) Hz
    voicing: np.ndarray  # (C,) level of the pulses
    breath: np.ndarray  # (C,) level of the noise that goes through the resonances
    hiss: np.ndarray  # (C,) level of the noise with a spectrum of its own
    hiss_centre: np.ndarray  # (C,) Hz
    hiss_width: np.ndarray  # (C,) Hz, standard deviation
    formants: np.ndarray  # (3, C) Hz


def synthesise(
    controls: Controls, corner: float, jitter: float, tract: float, rng: np.random.Generator
) -> np.ndarray:
    """Sound (S,) float32 of no particular level.

    `corner` is the frequency above which the glottal source falls, `jitter` a share of the period, and
    `tract` the factor on the formants that `Controls` does not hold.
    """
    voiced, hiss = _sources(controls, jitter, rng)
    spectra = _spectra(voiced)
    frames = np.minimum(np.arange(len(spectra)) * (_HOP // SAMPLES_PER_CONTROL), len(controls.hiss) - 1)
    hertz = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE).astype(np.float32)
    spectra *= _tract_response(hertz, controls.formants[:, frames].astype(np.float32), corner, tract)
    centre = controls.hiss_centre[frames].astype(np.float32)[:, None]
    width = controls.hiss_width[frames].astype(np.float32)[:, None]
    spectra += _spectra(hiss) * np.exp(-0.5 * np.square((hertz - centre) / width))
    return _overlapped(fft.irfft(spectra, _FFT, axis=1), len(voiced))


def _sources(controls: Controls, jitter: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Glottal pulses with breath (S,), and the noise of constrictions (S,)."""
    pitch = controls.pitch
    count = len(pitch) * SAMPLES_PER_CONTROL
    times = (np.arange(len(pitch)) + 0.5) / CONTROL_RATE
    cycles = np.cumsum(pitch) / CONTROL_RATE
    pulses = np.interp(np.arange(1, int(cycles[-1])), cycles, times)
    period = 1 / np.interp(pulses, times, pitch)
    level = np.interp(pulses, times, controls.voicing) * np.sqrt(period * SAMPLE_RATE)
    level *= 1 + 3 * jitter * rng.standard_normal(len(pulses))
    pulses = pulses + jitter * period * rng.standard_normal(len(pulses))
    voiced = _pulse_train(pulses * SAMPLE_RATE, level, count)
    samples = (np.arange(count) + 0.5) / SAMPLE_RATE
    noise = rng.standard_normal((2, count), np.float32)
    voiced += noise[0] * np.interp(samples, times, controls.breath).astype(np.float32)
    return voiced, noise[1] * np.interp(samples, times, controls.hiss).astype(np.float32)


def _pulse_train(positions: np.ndarray, levels: np.ndarray, count: int) -> np.ndarray:
    """Unit pulses at fractional sample positions, band-limited by a short windowed sinc."""
    nearest = np.round(positions).astype(int)
    taps = np.arange(-_SINC_REACH, _SINC_REACH + 1)
    distance = taps - (positions - nearest)[:, None]
    shape = np.sinc(distance) * np.cos(0.5 * np.pi * distance / (_SINC_REACH + 1)) ** 2
    index = np.clip(nearest[:, None] + taps, 0, count - 1)
    train = np.bincount(index.ravel(), (shape * levels[:, None]).ravel(), count)
    return train[:count].astype(np.float32)


def _tract_response(hertz: np.ndarray, formants: np.ndarray, corner: float, tract: float) -> np.ndarray:
    """Complex response (frames, bins) of glottis, vocal tract and lips for formants (3, frames)."""
    fixed = (1j * hertz / 500 / (1 + 1j * hertz / np.float32(corner)) ** 2).astype(np.complex64)
    for frequency, bandwidth in _HIGH_FORMANTS:
        fixed /= _resistance(hertz, np.float32(frequency * tract), bandwidth)
    response = np.broadcast_to(fixed, (formants.shape[1], len(hertz))).copy()
    for frequency, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
        response /= _resistance(hertz, frequency[:, None], bandwidth)
    return response


def _resistance(hertz: np.ndarray, frequency: np.ndarray, bandwidth: float) -> np.ndarray:
    """1 - (f / F)^2 + j f B / F^2: the inverse of a resonance, 1 at f = 0."""
    share = hertz / frequency
    out = np.empty(share.shape, np.complex64)
    out.real = 1 - share * share
    out.imag = share * (np.float32(bandwidth) / frequency)
    return out


def _spectra(signal: np.ndarray) -> np.ndarray:
    """Short-time spectra (frames, bins); frame k is centred on sample k * _HOP."""
    padded = np.pad(signal, (_HOP, _FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)
    return fft.rfft(frames * window, _FFT, axis=1)


def _overlapped(frames: np.ndarray, count: int) -> np.ndarray:
    """Frames of _FFT samples added _HOP apart; periodic Hann windows half a frame apart add up to 1."""
    blocks = _FFT // _HOP
    out = np.zeros((len(frames) + blocks - 1, _HOP), np.float32)
    for block in range(blocks):
        out[block : block + len(frames)] += frames[:, block * _HOP : (block + 1) * _HOP]
    return out.reshape(-1)[_HOP : _HOP + count]
