"""Truncation with training: for each depth an encoder that ends there is trained through the normal loop.

This asks the engineering question, how many layers are needed, by intervention. It costs a training for each
depth. A model is chosen on development utterances and scored on a split that it never saw.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from multimodal_ser import config as experiments
from multimodal_ser.analysis.relevance import Relevance
from multimodal_ser.analysis.trained_model import predictions, scores
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.metrics import RESAMPLES, Resampling


@dataclass(frozen=True)
class FineTuning:
    """What is trained for each depth."""

    experiment: str | os.PathLike  # a YAML file as `train` takes it; its encoder is replaced
    manifest: str | os.PathLike  # with the splits that the experiment names
    layers: tuple[int, ...] = ()  # blocks that are kept; () = every number
    split: str = "test"  # that is scored
    changes: tuple[str, ...] = ()  # key=value

    def check(self, blocks: int) -> None:
        """Refuse depths that an encoder of so many blocks does not have."""
        for kept in self.layers:
            if not 1 <= kept <= blocks:
                raise InputError(f"--finetune-layers {kept}: this encoder has blocks 1 to {blocks}")


def fine_tuned(encoder: str, layers: int, folder: Path, plan: FineTuning, seed: int = 0) -> Relevance:
    """CCC of the encoder cut behind each block and trained, (layers, 3); NaN where that was not tried."""
    values = np.full((layers, len(DIMENSIONS)), np.nan)
    draws = np.full((RESAMPLES, layers, len(DIMENSIONS)), np.nan)
    for kept in plan.layers or range(1, layers):
        config = _experiment(encoder, kept, plan)
        experiments.run(config, folder / f"layers{kept}")
        test = _test_set(experiments.load_manifest(config.data), plan)
        predictor = Predictor.load(folder / f"layers{kept}", config.training.device)
        said, _ = predictions(predictor, test, layers=False)
        resampling = Resampling([u.speaker for u in test.utterances], seed)
        for k, name in enumerate(DIMENSIONS):
            labels = np.array([getattr(u, name) for u in test.utterances], dtype=float)
            if not np.isnan(labels).any():
                value, drawn = scores(said["audio"][:, [k]], labels[:, None], resampling)
                values[kept, k], draws[:, kept, k] = value[0], drawn[:, 0]
    return Relevance(values, draws)


def _experiment(encoder: str, kept: int, plan: FineTuning) -> experiments.RunConfig:
    changes = [
        f"data.manifest={plan.manifest}",
        f"model.audio.encoder={encoder}",
        f"model.audio.keep_layers={kept}",
        *plan.changes,
    ]
    config = experiments.load_config(plan.experiment, changes)
    if config.model.branches != ("audio",):
        raise InputError(
            f"{plan.experiment}: this experiment reads text as well; whether a layer is needed is asked of "
            "an experiment with model.fusion: audio"
        )
    return config


def _test_set(manifest: Manifest, plan: FineTuning) -> Manifest:
    """Utterances of the test split with every dimension that anybody labelled there."""
    test = manifest.split(plan.split)
    named = [name for name in DIMENSIONS if any(getattr(u, name) is not None for u in test.utterances)]
    known = [u for u in test.utterances if named and all(getattr(u, name) is not None for name in named)]
    if len(known) < 2:
        raise InputError(
            f"--finetune: split '{plan.split}' has {len(known)} labelled utterances; name another with "
            "--finetune-split"
        )
    return replace(test, utterances=known)
