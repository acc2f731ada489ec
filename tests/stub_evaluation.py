"""What the tests of evaluation share: a made corpus, and a stub that says what a model would say.

The stub's audio reading is planted in `meta`; its text reading is the three numbers of the transcript; the
fused one is the text reading where there are words and the audio one where there are none.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd

from multimodal_ser.cache import hash_file
from multimodal_ser.data import Examples
from multimodal_ser.evaluation import evaluate
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Header, Manifest, write
from multimodal_ser.utterances import Utterance

N, SPEAKERS = 120, 8
READINGS = ("fused", "audio", "text")
CALIBRATION = {
    "coverage": 0.9,
    "radius": {reading: dict.fromkeys(DIMENSIONS, 0.2) for reading in READINGS},
    "levels": {
        "coverage": [0.5, 0.9],
        "radius": {reading: {name: [0.1, 0.2] for name in DIMENSIONS} for reading in READINGS},
    },
}


class Stub:
    """As much of a predictor as an evaluation needs."""

    def __init__(self, readings=READINGS, classes=(), calibration=CALIBRATION):
        self.model = SimpleNamespace(readings=readings, config=SimpleNamespace(classes=classes))
        self.calibration = calibration
        self.name = "feedbeef"
        self.calls = 0

    def examples(self, manifest, cache=None):
        return Examples(manifest, None, self.model.config.classes)

    def predict(self, examples):
        self.calls += 1
        rows = []
        for u in examples.utterances:
            audio = u.meta["audio"]
            text = [float(x) for x in u.text.split()] if u.text else [0.5] * 3
            said = {"audio": audio, "text": text, "fused": text if u.text else audio}
            row = {"id": u.id}
            first, *others = self.model.readings
            for d, name in enumerate(DIMENSIONS):
                radius = np.nan if self.calibration is None else self.calibration["radius"][first][name]
                row |= {name: said[first][d], f"{name}_low": said[first][d] - radius}
                row[f"{name}_high"] = said[first][d] + radius
            row |= {f"{r}_{name}": said[r][d] for r in others for d, name in enumerate(DIMENSIONS)}
            rows.append(row | {f"share_{c}": u.meta["shares"][c] for c in self.model.config.classes})
        return pd.DataFrame(rows)


def corpus(split="test", seed=1, n=N, **changes):
    """Utterances whose words say more than their voice; every second one has an ASR transcript too."""
    generator = np.random.default_rng(seed)
    utterances = []
    for i in range(n):
        labels = generator.uniform(0, 1, 3).round(4)
        audio = (0.3 + 0.4 * labels + generator.normal(0, 0.2, 3)).round(4)
        words, heard = (" ".join(f"{x:.4f}" for x in labels + generator.normal(0, s, 3)) for s in (0.1, 0.3))
        one = Utterance(
            id=f"{split}{i:04}",
            corpus="made",
            audio=f"{i}.wav",
            speaker=f"s{i % SPEAKERS}",
            gender=("female", "male")[i % 2],
            split=split,
            text=words,
            text_source="reference",
            transcripts={"reference": words} | ({"asr:tiny": heard} if i % 2 else {}),
            **dict(zip(DIMENSIONS, labels.tolist(), strict=True)),
            label_source="planted",
            meta={"audio": audio.tolist()},
        )
        utterances.append(replace(one, **changes))
    return utterances


def manifest_of(*parts, corpus_name="made"):
    return Manifest(Header(corpus_name, "1"), [u for part in parts for u in part])


def run_folder(tmp_path, fold=None):
    """A run folder and its manifest with a training part, some of whose speakers are tested too."""
    manifest = tmp_path / "manifest.jsonl"
    parts = [
        corpus(name, seed, 16, fold=f)
        for seed, (name, f) in enumerate((("train", 3), ("development", 2), ("test", 1)))
    ]
    write(manifest, Header("made", "1"), [u for part in parts for u in part])
    run = tmp_path / "run"
    run.mkdir()
    settings = {
        "data": {"manifest": str(manifest), "train": "train", "development": "development", "fold": fold}
    }
    (run / "config.resolved.yaml").write_text(json.dumps(settings))
    (run / "environment.json").write_text(json.dumps({"manifest_hash": hash_file(manifest)}))
    return run, manifest


def labels_of(utterances, name):
    return np.array([getattr(u, name) for u in utterances])


def evaluate_everything(folder):
    """A whole evaluation of a made set, half of whose speakers are known: folder, report, utterances."""
    utterances = corpus()
    heard = [replace(u, id="t" + u.id, split="train") for u in utterances if u.speaker < "s4"]
    training = TrainingData.of(manifest_of(heard))
    return folder, evaluate(Stub(), manifest_of(utterances), ["test"], folder, ["all"], training), utterances
