"""Make the folder that the package carries: half precision, intervals, licences, card.

    python recipes/starter/finish.py WORK RUN OUTPUT

WORK is the folder of run.sh, RUN the joined model. Before measure.py has written what it found into WORK, the
weights alone are made: half precision is what is measured.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from multimodal_ser.cache import atomic_path, write_json, write_text
from multimodal_ser.card import CardConfig, carry_card
from multimodal_ser.inference import CALIBRATION, COVERAGE, LEVELS, model_folder
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.metrics import conformal_radius
from multimodal_ser.models.ser import READINGS, SETTINGS, WEIGHTS

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")
LICENCES = {
    "weights": [{"name": "starter", "licence": "CC BY-SA 4.0"}],
    "data": [
        {"name": "EmoBank", "licence": "CC BY-SA 4.0", "use": "ratings of the training split",
         "by": "Sven Buechel and Udo Hahn, JULIE Lab"},
        {"name": "EmoDB", "licence": "free to use", "use": "recordings and classes",
         "by": "Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss"},
        {"name": "WordNet 3.0", "licence": "WordNet 3.0 license",
         "use": "texts that the teachers labelled, and which word pieces are kept",
         "by": "Copyright 2006 by Princeton University. All rights reserved."},
        {"name": "VADER lexicon", "licence": "MIT", "use": "valence of words, and which word pieces are kept",
         "by": "C. J. Hutto"},
        {"name": "synthetic voice of multimodal_ser", "licence": "CC0-1.0",
         "use": "sound and planted arousal", "by": ""},
        {"name": "sentence-transformers/all-MiniLM-L6-v2", "licence": "Apache-2.0",
         "use": "teachers of words, and first word embeddings", "by": ""},
        {"name": "BERT's vocabulary", "licence": "Apache-2.0", "use": "12,000 of its pieces", "by": "Google"},
    ],
}  # fmt: skip


# What the model was meant to reach: part of the figures, measure, dimension, at least.
AIMS = [
    ("voice", "CCC of a new voice with the proxy", "arousal", 0.88),
    ("words", "Pearson of words", "valence", 0.65),
    ("words", "Pearson of words", "arousal", 0.42),
    ("words", "Pearson of words", "dominance", 0.35),
]
AUTHOR = CardConfig(
    name="The starter model of multimodal_ser", licence="cc-by-sa-4.0", languages=("en", "de")
)


def aims(figures: dict[str, Any]) -> str:
    """One line for each aim: met or missed."""
    lines = []
    for part, measure, dimension, least in AIMS:
        values = figures["voice"] if part == "voice" else figures["words"]["test"]["pearson"]
        verdict = "met" if values[dimension]["value"] >= least else "**missed**"
        lines.append(f"- {measure}, {dimension}, at least {least}: {verdict}, {interval(values[dimension])}")
    worst = min(share for shares in figures["voice"]["unchanged"].values() for share in shares.values())
    verdict = "met" if worst >= 0.95 else "**missed**"
    lines.append(f"- at least 95 % of clips of new speakers unchanged, each change and dimension: {verdict}, "
                 f"{100 * worst:.1f} % in the worst")  # fmt: skip
    return "\n".join(lines)


def radii(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Half widths per dimension: that of COVERAGE, then those of LEVELS."""
    residuals = {name: (rows[f"label_{name}"] - rows[name]).to_numpy() for name in DIMENSIONS}
    return {
        name: [conformal_radius(residuals[name], level) for level in (COVERAGE, *LEVELS)]
        for name in DIMENSIONS
    }


def calibration(voice: pd.DataFrame, words: pd.DataFrame) -> dict[str, Any]:
    """Intervals of the readings; of the fused one the wider of the two: nothing that is rated has both."""
    found = {"audio": radii(voice), "text": radii(words)}
    found["fused"] = {
        name: np.maximum(found["audio"][name], found["text"][name]).tolist() for name in DIMENSIONS
    }
    return {
        "coverage": COVERAGE,
        "utterances": min(len(voice), len(words)),
        "radius": {reading: {name: found[reading][name][0] for name in DIMENSIONS} for reading in READINGS},
        "levels": {
            "coverage": list(LEVELS),
            "radius": {
                reading: {name: found[reading][name][1:] for name in DIMENSIONS} for reading in READINGS
            },
        },
    }


def interval(value: dict[str, float]) -> str:
    return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


def card(figures: dict[str, Any], size: int, pieces: int, template: str) -> str:
    """The model card with what was measured."""
    voice, test = figures["voice"], figures["words"]["test"]
    groups = [
        f"| {group} | " + " | ".join(f"{v[name]:.3f}" for name in DIMENSIONS) + " |"
        for group, v in voice["groups"].items()
    ]
    genres = [
        f"| {genre} ({v['sentences']}) | " + " | ".join(f"{v[name]:.3f}" for name in DIMENSIONS) + " |"
        for genre, v in test["genres"].items()
    ]
    still = []
    for change, shares in figures["unchanged"].items():
        new = voice["unchanged"][change]
        cells = " | ".join(f"{100 * new[name]:.1f} / {100 * shares[name]:.1f} %" for name in DIMENSIONS)
        still.append(f"| {change.replace('_', ' ')} | {cells} |")
    return template.format(
        megabytes=f"{size / 1e6:.1f}",
        pieces=f"{pieces:,}",
        aims=aims(figures),
        clips=voice["clips"],
        folds=voice["folds"],
        speakers=2 * voice["folds"],
        voice=" | ".join(interval(voice[name]) for name in DIMENSIONS),
        words=" | ".join(interval(test["pearson"][name]) for name in DIMENSIONS),
        words_ccc=" | ".join(interval(test["ccc"][name]) for name in DIMENSIONS),
        groups="\n".join(groups),
        genres="\n".join(genres),
        unchanged="\n".join(still),
        means=", ".join(
            f"{emotion} {mean:.2f}" for emotion, mean in sorted(voice["means"].items(), key=lambda x: -x[1])
        ),
        data="\n".join(
            f"- {d['name']} ({d['licence']}): {d['use']}" + (f"; {d['by']}" if d["by"] else "")
            for d in LICENCES["data"]
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("work", "run", "output"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    work, output, made = arguments.work, arguments.output, model_folder(arguments.run)
    output.mkdir(parents=True, exist_ok=True)
    weights = {
        name: x.to(torch.float16) if x.is_floating_point() else x
        for name, x in load_file(made / WEIGHTS).items()
    }
    with atomic_path(output / WEIGHTS) as path:
        save_file(weights, path, metadata={"format": "pt"})
    for name in (SETTINGS, *TOKENIZER):
        if (made / name).is_file():
            shutil.copyfile(made / name, output / name)
    write_json(output / "licences.json", LICENCES)
    if not (work / "measured.json").is_file():
        return
    write_json(
        output / CALIBRATION, calibration(pd.read_csv(work / "voice.csv"), pd.read_csv(work / "words.csv"))
    )
    figures = json.loads((work / "measured.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in output.iterdir())
    pieces = json.loads((output / SETTINGS).read_text(encoding="utf-8"))["text"]["config"]["vocab_size"]
    template = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    write_text(output / "README.md", card(figures, size, pieces, template))
    carry_card(output, made, AUTHOR)


if __name__ == "__main__":
    main()
