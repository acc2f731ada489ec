"""EmoBank with the tokens of VADER's lexicon for training: 8,062 sentences hold few words that carry valence.

    python recipes/emobank/lexicon.py MANIFEST vader_lexicon.txt -o FOLDER

A token is an utterance with valence alone, its rating of -4 to 4 pressed into the spread that EmoBank's
training sentences have. Tokens that are no words, such as emoticons, are left out.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from multimodal_ser.manifests import Manifest, read, write
from multimodal_ser.utterances import Utterance


def tokens(lexicon: Path) -> dict[str, float]:
    """Words and their ratings, -4 to 4."""
    rows = (line.split("\t") for line in lexicon.read_text(encoding="utf-8").splitlines() if "\t" in line)
    return {row[0]: float(row[1]) for row in rows if row[0].replace("-", "").replace("'", "").isalpha()}


def with_tokens(manifest: Manifest, rated: dict[str, float]) -> Iterator[Utterance]:
    """The manifest's utterances, then one for each token."""
    valence = np.array([u.valence for u in manifest.split("train").utterances])
    scale = valence.std() / np.std(list(rated.values()))
    yield from manifest.utterances
    for number, (token, score) in enumerate(rated.items()):
        value = float(np.clip(valence.mean() + scale * score, 0, 1))
        yield Utterance(
            f"vader_{number:05}", "vader", text=token, text_source="reference", split="train", valence=value,
            label_source="rated",
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path, help="of `prepare emobank`")
    parser.add_argument("lexicon", type=Path, help="vader_lexicon.txt of cjhutto/vaderSentiment")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    manifest, rated = read(arguments.manifest), tokens(arguments.lexicon)
    header = replace(manifest.header, licence=f"{manifest.header.licence}; VADER lexicon: MIT")
    arguments.output.mkdir(parents=True, exist_ok=True)
    write(arguments.output / "manifest.jsonl", header, with_tokens(manifest, rated))
    print(f"{len(manifest):,} sentences and {len(rated):,} tokens")


if __name__ == "__main__":
    main()
