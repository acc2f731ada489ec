"""Noise made from nothing, for training: white, pink and babble, (S,) at 16 kHz, of no particular level."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE

LOWEST = 20.0  # Hz; pink noise is flat below, where 1/f has no end
TALKERS = (4, 9)  # at least, and fewer than
VOICE = (90.0, 250.0)  # Hz, pitch of a talker
WANDER = (0.3, 1.5, 3.0)  # a pitch moves up and down so often per second at least and at most, by semitones
SYLLABLES = (3.0, 6.0)  # per second
BREATH = 0.1  # noise in a voice, relative to its tone
LOWEST_SPEECH, SPEECH_CORNER = 100.0, 500.0  # Hz; speech falls by 9 dB per octave above the corner

Noise = NDArray[np.float64]


def white(size: int, generator: np.random.Generator) -> Noise:
    """The same power in every hertz."""
    return generator.standard_normal(size)


def pink(size: int, generator: np.random.Generator) -> Noise:
    """The same power in every octave: 3 dB less per octave up."""
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    return _shaped(generator.standard_normal(size), np.maximum(frequencies, LOWEST) ** -0.5)


def babble(size: int, generator: np.random.Generator) -> Noise:
    """Several talkers at once: voices of wandering pitch, cut into syllables, with the spectrum of speech."""
    times = np.arange(size) / SAMPLE_RATE
    voices = np.zeros(size)
    for _ in range(generator.integers(*TALKERS)):
        slowest, fastest, semitones = WANDER
        rate, start = generator.uniform(slowest, fastest), generator.uniform(0, 2 * np.pi)
        pitch = generator.uniform(*VOICE) * 2 ** (semitones / 12 * np.sin(2 * np.pi * rate * times + start))
        tone = 2 * (np.cumsum(pitch) / SAMPLE_RATE % 1) - 1
        rate, start = generator.uniform(*SYLLABLES), generator.uniform(0, 2 * np.pi)
        loudness = np.maximum(0.0, np.sin(2 * np.pi * rate * times + start))
        voices += loudness * (tone + BREATH * generator.standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    # The tones fall by 6 dB per octave by themselves; 3 more make the 9 of speech.
    falling = np.maximum(frequencies / SPEECH_CORNER, 1.0) ** -0.5
    return _shaped(voices, (frequencies > LOWEST_SPEECH) * falling)


def _shaped(noise: Noise, amplitudes: NDArray) -> Noise:
    return np.fft.irfft(np.fft.rfft(noise) * amplitudes, noise.size)


NOISES: dict[str, Callable[[int, np.random.Generator], Noise]] = {
    "white": white,
    "pink": pink,
    "babble": babble,
}
