"""Acted German speech with proxy labels, in many acoustic guises, and a synthetic voice: one manifest.

    python recipes/starter/voices.py EMODB_MANIFEST SYNTHETIC_MANIFEST -o FOLDER

Arousal is the proxy below (one number for each class); valence and dominance are those that
`prepare emodb --proxy-dimensions` gives. A guise is drawn from the clip's name and its number: silence around
it, speed, pitch, the response of a microphone, a room, noise, gain, a codec. Guise 0 is the clip as it is.
The synthetic voice has its planted arousal alone, since valence is not in it.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.audio import SAMPLE_RATE, load
from multimodal_ser.augmentation import Augmentation, AugmentationConfig
from multimodal_ser.manifests import Header, Manifest, read, write
from multimodal_ser.objectives.emotional_spans import generator_for
from multimodal_ser.utterances import Utterance

# Chosen once, by hand; how listeners would rate each clip is not known.
AROUSAL = {
    "anger": 0.9, "fear": 0.8, "happiness": 0.8, "disgust": 0.5, "neutral": 0.35, "boredom": 0.15,
    "sadness": 0.1,
}  # fmt: skip
CHANGES = AugmentationConfig(
    speed=0.5,
    speed_factors=(0.88, 1.14),
    pitch=0.7,  # as far as from one speaker to another: who speaks must not look like how
    pitch_semitones=(-4.0, 4.0),
    room=0.4,
    noise=0.6,
    noise_ratios=(5.0, 35.0),
    gain=1.0,
    gain_decibels=(-30.0, 6.0),
    codec=0.4,
    codecs=("telephone", "mobile", "mp3", "vorbis"),
)
PADDED, LONGEST_PADDING = 0.7, 0.8  # probability, and seconds at each end
RESPONSE_POINTS, RESPONSE_SPREAD = 6, 3.0  # of a microphone: octaves, and spread of its gains in dB


def guise(waveform: NDArray[np.float32], change: Augmentation, generator: np.random.Generator) -> NDArray:
    """One guise of a clip."""
    if generator.random() < PADDED:
        before, after = (round(SAMPLE_RATE * generator.uniform(0, LONGEST_PADDING)) for _ in range(2))
        waveform = np.pad(waveform, (before, after))
    if generator.random() < 0.5:
        waveform = coloured(waveform, generator)
    return change(waveform, generator)


def coloured(waveform: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """As another microphone would have recorded it: a smooth random response over octaves."""
    frequencies = np.fft.rfftfreq(waveform.size, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 125.0) / 125.0)
    gains = generator.normal(0, RESPONSE_SPREAD, RESPONSE_POINTS + 1)
    response = 10 ** (np.interp(octaves, np.arange(RESPONSE_POINTS + 1), gains) / 20)
    return np.fft.irfft(np.fft.rfft(waveform) * response, waveform.size).astype(np.float32)


def guises(manifest: Manifest, output: Path, count: int) -> Iterator[Utterance]:
    """Every clip `count` times; sound files that are there already are kept."""
    change = Augmentation(CHANGES)
    for utterance in tqdm(manifest.utterances, desc=f"guises of {manifest.header.corpus}", disable=None):
        clip = None
        for number in range(count):
            name = f"{utterance.corpus}/{utterance.id}_{number}.wav"
            path = output / name
            if not path.is_file():
                if clip is None:
                    clip = load(manifest.audio_path(utterance), utterance.start or 0.0, utterance.end)
                generator = generator_for(utterance.id, number, 0)
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, clip if number == 0 else guise(clip, change, generator), SAMPLE_RATE)
            facts = {**(utterance.meta or {}), "guise": number, "clip": utterance.id}
            yield replace(
                utterance,
                id=f"{utterance.id}_{number}",
                audio=name,
                start=None,
                end=None,
                text=None,
                text_source=None,
                meta=facts,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emodb", type=Path, help="manifest of `prepare emodb --proxy-dimensions`")
    parser.add_argument("synthetic", type=Path, help="manifest of `prepare synthetic`")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--guises", type=int, default=6, help="of each clip, itself included")
    arguments = parser.parse_args()
    emodb, synthetic = read(arguments.emodb), read(arguments.synthetic)
    emodb = replace(
        emodb,
        utterances=[replace(u, arousal=AROUSAL[u.emotion], label_source="proxy") for u in emodb.utterances],
    )
    acted = list(guises(emodb, arguments.output, arguments.guises))
    spoken = [
        replace(
            u,
            split="train",
            fold=None,
            valence=None,
            dominance=None,
            emotion=None,
            emotion_probs=None,
            ratings=None,
        )
        for u in guises(synthetic, arguments.output, 2)
    ]
    header = Header("starter_voices", audio_root=".", licence="EmoDB: free to use; synthetic voice: CC0-1.0")
    write(arguments.output / "all.jsonl", header, [*(replace(u, split="train") for u in acted), *spoken])


if __name__ == "__main__":
    main()
