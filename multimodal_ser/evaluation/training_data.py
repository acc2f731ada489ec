"""What a model was trained on and chosen by, as far as it can be known: from the manifest of its training.

A model folder does not name its speakers, so that a published model says nothing about people. A run folder
names its manifest; it counts only if the manifest is still the one that was trained on.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_ser import settings
from multimodal_ser.cache import hash_file
from multimodal_ser.corpora.reading import split_by_fold
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.utterances import Utterance

CONFIGURATION, ENVIRONMENT = "config.resolved.yaml", "environment.json"
TRAIN, DEVELOPMENT = "train", "development"


@dataclass(frozen=True)
class TrainingData:
    """Speakers and utterances, each with its corpus: two corpora may use the same name."""

    name: str  # corpus and version
    speakers: frozenset[tuple[str, str]]
    trained: frozenset[tuple[str, str]]
    chosen: frozenset[tuple[str, str]]  # development data: the best model was chosen by it

    @classmethod
    def of(cls, manifest: Manifest, train: str = TRAIN, development: str = DEVELOPMENT) -> "TrainingData":
        """From a manifest and the names of its two splits."""
        trained, chosen = ([u for u in manifest.utterances if u.split == s] for s in (train, development))
        return cls(
            " ".join(filter(None, (manifest.header.corpus, manifest.header.version))),
            frozenset((u.corpus, u.speaker) for u in trained if u.speaker is not None),
            frozenset((u.corpus, u.id) for u in trained),
            frozenset((u.corpus, u.id) for u in chosen),
        )

    def familiarity(self, utterance: Utterance) -> str:
        """Whether the speaker of an utterance was heard in training."""
        if utterance.speaker is None:
            return "unknown"
        return "in training" if (utterance.corpus, utterance.speaker) in self.speakers else "new"

    def overlap(self, utterances: Sequence[Utterance]) -> dict[str, Any]:
        """How much of a set was in the training data."""
        speakers = {(u.corpus, u.speaker) for u in utterances if u.speaker is not None}
        ids = {(u.corpus, u.id) for u in utterances}
        return {
            "corpus": self.name,
            "speakers_in_training": len(speakers & self.speakers),
            "utterances_trained_on": len(ids & self.trained),
            "utterances_chosen_by": len(ids & self.chosen),
        }


def of_run(
    run: str | os.PathLike,
    evaluated: str | os.PathLike,
    named: str | os.PathLike | None = None,
    fold: int | None = None,
) -> TrainingData | None:
    """The training data of a run or model folder, or None where nothing says what it was.

    `named` is the manifest of the training, for a model folder or a manifest that has moved; otherwise the
    manifest that the run folder names, or the `evaluated` one if it is the same file. `fold` says how it was
    divided where no run folder does.
    """
    data = run_data(run)
    manifest = _same_manifest(run, data, evaluated) if named is None else read(named)
    if manifest is None:
        return None
    if (trained_fold := data.get("fold", fold)) is not None:
        manifest = replace(manifest, utterances=split_by_fold(manifest.utterances, trained_fold))
    found = TrainingData.of(manifest, data.get("train", TRAIN), data.get("development", DEVELOPMENT))
    if named is not None and not found.trained:
        present = ", ".join(sorted({u.split or "(none)" for u in manifest.utterances}))
        raise InputError(
            f"--train-manifest {named}: no utterance is in split '{data.get('train', TRAIN)}'; "
            f"splits in this manifest: {present}"
        )
    return found


def in_folds(
    manifest: Manifest, run: str | os.PathLike, fold: int | None, training: TrainingData | None
) -> Manifest:
    """A manifest divided for testing on `fold`, or else on the one that the run left out of its training."""
    if fold is None:
        corpora = {u.corpus for u in manifest.utterances}
        is_other_corpus = training is not None and not corpora & {corpus for corpus, _ in training.trained}
        fold = run_data(run).get("fold")
        if fold is None or is_other_corpus or all(u.fold is None for u in manifest.utterances):
            return manifest
    return replace(manifest, utterances=split_by_fold(manifest.utterances, fold))


def run_data(run: str | os.PathLike) -> dict[str, Any]:
    """The `data` part of a run folder's configuration; nothing for a model folder."""
    path = Path(run) / CONFIGURATION
    data = settings.read(path).get("data") if path.is_file() else None
    return data if isinstance(data, dict) else {}


def _same_manifest(
    run: str | os.PathLike, data: dict[str, Any], evaluated: str | os.PathLike
) -> Manifest | None:
    path = Path(run) / ENVIRONMENT
    trained_on = json.loads(path.read_text(encoding="utf-8")).get("manifest_hash") if path.is_file() else None
    for candidate in (evaluated, data.get("manifest")):
        if candidate and Path(candidate).is_file() and hash_file(candidate) == trained_on:
            return read(candidate)
    return None
