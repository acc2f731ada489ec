"""Do emotional masks, intensity, alignment or Vesper help? Small networks, real speech, folds and seeds.

    python recipes/pretraining_study/study.py MANIFEST RESULTS.jsonl [--seeds 3] [--epochs 6]

For every seed and fold an encoder is pretrained from a random start on the audio of the training speakers
alone, then frozen; the means of its layers go to a logistic regression that sees the training speakers'
labels and is tested on the other two speakers. Nothing is selected. Every row is written as soon as it is
known, and a run that was stopped goes on. `table.py` makes the table.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from study_encoders import Corpus, Unit

CONDITIONS = (
    "mockingjay none", "mockingjay random", "mockingjay energy", "mockingjay learned", "mockingjay aligned",
    "npc none", "npc plain", "npc energy", "npc learned",
    "vesper none", "vesper random", "vesper emotion",
)  # fmt: skip


def run(corpus, path, seeds, epochs):
    """Every row that is not there yet."""
    rows = read(path)
    if other := {r["epochs"] for r in rows} - {epochs}:
        sys.exit(f"{path} holds rows of {other.pop()} epochs, not {epochs}: name another file")
    done = {(r["condition"], r["fold"], r["seed"]) for r in rows}
    for seed, fold in itertools.product(range(seeds), sorted(set(corpus.folds.tolist()))):
        unit = Unit(corpus, fold, seed, epochs)
        for condition in CONDITIONS:
            if (condition, fold, seed) in done:
                continue
            said = unit.said(condition)
            row = {
                "condition": condition, "fold": fold, "seed": seed, "epochs": epochs,
                "ids": [corpus.ids[i] for i in unit.test], "said": said,
            }  # fmt: skip
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def read(path):
    """The rows that are known."""
    lines = Path(path).read_text(encoding="utf-8").splitlines() if Path(path).is_file() else []
    return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest")
    parser.add_argument("results")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    run(Corpus(arguments.manifest), arguments.results, arguments.seeds, arguments.epochs)


if __name__ == "__main__":
    main()
