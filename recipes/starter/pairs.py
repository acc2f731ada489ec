"""Sounds and texts side by side, for the joined model: any voice with any sentence.

    python recipes/starter/pairs.py WORK

The labels are those of the sound: the mean of the proxy and of what the experts say of the clip as it is, the
same for all its guises, so that the joined model learns not to hear the guise. Texts are EmoBank's training
sentences; development pairs are bare clips with development sentences.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, read, write
from multimodal_ser.utterances import Utterance

TEXTS_PER_SOUND = 1
OWN_LABEL = 0.5  # weight of the proxy or planted value against the experts


def heard(work: Path, clips: Manifest) -> dict[str, NDArray[np.float64]]:
    """The mean of the experts for each bare clip."""
    said = []
    for expert in sorted((work / "runs" / "audio").glob("fold*/model")):
        predictor = Predictor.load(expert, "cpu")
        said.append(predictor.predict(predictor.examples(clips))[list(DIMENSIONS)].to_numpy())
    means = np.mean(said, axis=0)
    return {u.meta["clip"]: row for u, row in zip(clips.utterances, means, strict=True)}


def labelled(utterance: Utterance, experts: NDArray[np.float64]) -> dict[str, float]:
    """The labels of a sound."""
    found = {}
    for name, said in zip(DIMENSIONS, experts, strict=True):
        own = getattr(utterance, name)
        value = said if own is None else OWN_LABEL * own + (1 - OWN_LABEL) * said
        found[name] = float(min(1.0, max(0.0, value)))
    return found


def paired(
    sounds: Sequence[Utterance], texts: Sequence[str], count: int, split: str, draw: random.Random
) -> Iterator[Utterance]:
    for number in range(count):
        for sound in sounds:
            yield replace(
                sound, id=f"{sound.id}_{split}{number}", text=draw.choice(texts), text_source="reference",
                split=split, fold=None, label_source="teacher",
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    voices = read(work / "voices" / "all.jsonl")
    bare = voices.select(lambda u: u.meta["guise"] == 0)
    experts = heard(work, bare)
    sounds = [replace(u, **labelled(u, experts[u.meta["clip"]])) for u in voices.utterances]
    texts = read(work / "emobank" / "manifest.jsonl").utterances
    sentences = {split: [u.text for u in texts if u.split == split] for split in ("train", "development")}
    draw = random.Random(0)
    clips = [u for u in sounds if u.meta["guise"] == 0 and u.corpus == "emodb"]
    pairs = [
        *paired(sounds, sentences["train"], TEXTS_PER_SOUND, "train", draw),
        *paired(clips, sentences["development"], 1, "development", draw),
    ]
    write(work / "voices" / "pairs.jsonl", voices.header, pairs)


if __name__ == "__main__":
    main()
