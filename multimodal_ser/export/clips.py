"""What a graph is calibrated and compared on: clips of real utterances, or noise where there are none.

Waveforms are float, -1..1, at 16 kHz.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.audio_store import FULL_SCALE, decode
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest

CALIBRATION_SECONDS = 3.0  # of each utterance: a calibration keeps the activations of all clips
_LONGEST = 30.0  # seconds of a clip that is compared


@dataclass(frozen=True)
class Clip:
    """A sound and what is said in it."""

    waveform: NDArray[np.float32]
    text: str


@dataclass(frozen=True)
class Clips:
    """Disjoint clips for calibration and for comparison, as far as there are enough."""

    calibration: list[Clip]
    measuring: list[Clip]
    source: str


def noise(seed: int, count: int = 8, seconds: float = 10.0) -> Clips:
    """White noise whose loudness moves, for a comparison of two implementations; it calibrates nothing."""
    generator = np.random.default_rng(seed)
    samples = int(seconds * SAMPLE_RATE)
    loudness = np.abs(np.sin(np.linspace(0, 9, samples)))
    sounds = [(generator.standard_normal(samples) * 0.1 * loudness).astype(np.float32) for _ in range(count)]
    return Clips([], [Clip(sound, "well this is what somebody said") for sound in sounds], "noise")


def of_manifest(manifest: Manifest, count: int, seed: int, hears: bool = True) -> Clips:
    """`count` utterances of a manifest to calibrate on, and up to as many others to compare on.

    hears: a model that does not takes words alone, and nothing of it is calibrated.
    """
    order = np.random.default_rng(seed).permutation(len(manifest))[: 2 * count]
    chosen = {manifest.utterances[index].id for index in order}
    part = manifest.select(lambda utterance: utterance.id in chosen)
    if not hears:
        return _of_words([utterance.text for utterance in part.utterances if utterance.text])
    store = decode(part)
    clips = [
        Clip(
            store[index].astype(np.float32)[: int(_LONGEST * SAMPLE_RATE)] / FULL_SCALE, utterance.text or ""
        )
        for index, utterance in enumerate(part.utterances)
    ]
    clips = [clips[index] for index in np.random.default_rng(seed).permutation(len(clips))]
    clips = [clip for clip in clips if clip.waveform.size]
    if not clips:
        raise InputError(f"none of {len(manifest)} utterances has audio; calibration needs some")
    kept = min(count, (len(clips) + 1) // 2)
    source = f"{len(clips)} utterances of a manifest, {kept} of them for calibration"
    return Clips(clips[:kept], clips[kept:] or clips, source)


def _of_words(texts: list[str]) -> Clips:
    if not texts:
        raise InputError(
            "no utterance of the manifest has words, and the model reads nothing else; give one with words "
            "(`transcribe` fills them in)"
        )
    silence = np.zeros(0, np.float32)
    return Clips([], [Clip(silence, text) for text in texts], f"the words of {len(texts)} utterances")
