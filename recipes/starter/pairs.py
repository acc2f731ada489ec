"""Sounds and texts side by side, for the model of both: any voice with any sentence.

    python recipes/starter/pairs.py VOICES EMOBANK_MANIFEST

VOICES is the folder that voices.py wrote. The labels are those of the sound. Texts are EmoBank's training
sentences. Development pairs are the bare clips of the training speakers with EmoBank's development sentences:
ten speakers are too few to spend two on choosing an epoch.
Writes VOICES/pairs_all.jsonl, and pairs_fold1.jsonl and so on, each without the two speakers of a fold.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from multimodal_ser.manifests import read, write
from multimodal_ser.utterances import Utterance


def paired(sounds: Sequence[Utterance], texts: Sequence[str], draw: random.Random) -> Iterator[Utterance]:
    """Each sound with a sentence."""
    for sound in sounds:
        yield replace(sound, text=draw.choice(texts), text_source="reference", fold=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voices", type=Path, help="folder of voices.py")
    parser.add_argument("emobank", type=Path, help="manifest of `prepare emobank`")
    arguments = parser.parse_args()
    voices, emobank = read(arguments.voices / "all.jsonl"), read(arguments.emobank)
    texts = {split: [u.text for u in emobank.split(split).utterances] for split in ("train", "development")}
    folds = sorted({u.fold for u in voices.utterances if u.fold is not None})
    for fold in (None, *folds):
        draw = random.Random(0)
        heard = [u for u in voices.utterances if fold is None or u.fold != fold]
        bare = [u for u in heard if u.meta["guise"] == 0 and u.corpus == "emodb"]
        apart = [replace(u, id=f"{u.id}_again", split="development") for u in bare]
        name = "all" if fold is None else f"fold{fold}"
        pairs = [*paired(heard, texts["train"], draw), *paired(apart, texts["development"], draw)]
        write(arguments.voices / f"pairs_{name}.jsonl", voices.header, pairs)


if __name__ == "__main__":
    main()
