"""Training a strength network (models/strength.py) on how strong the emotion of each training utterance is.

Nobody rated strengths: they are ranks of relative attributes (objectives/relative_attributes.py), one ranking
per class against neutral speech, on mean and deviation of the log-mel bands of each utterance.

Departure: the published ranks are made from openSMILE's features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multimodal_ser.audio import load
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.strength import StrengthConfig, StrengthNet, strength_losses
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.relative_attributes import strength_targets


@dataclass(frozen=True)
class StrengthTrainingConfig:
    """The network, and how utterances are ranked."""

    network: StrengthConfig = field(default_factory=StrengthConfig)  # classes: as the utterances have
    neutral: str = "neutral"  # the class that every other one is ranked against
    pairs: int = 1000  # ordered pairs per class, and as many of a kind

    def __post_init__(self) -> None:
        if self.pairs < 2:
            raise InputError(f"strength.pairs = {self.pairs}: 2 or more for each class")


class Target(NamedTuple):
    """What is told of an utterance."""

    strength: float  # from 0 to 1
    emotion: int  # position of its class


class StrengthTraining(Objective):
    """Train a strength network on ranks and classes."""

    def __init__(self, model: StrengthNet, targets: Mapping[str, Target]) -> None:
        super().__init__()
        self.model = model
        self.targets = targets

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        if batch.waveforms is None:
            raise InputError("strength needs audio, and these utterances have none")
        if unknown := [name for name in batch.ids if name not in self.targets]:
            raise InputError(
                f"strength: '{unknown[0]}' has no rank, since only training utterances are ranked; set "
                "data.development to null"
            )
        told = [self.targets[name] for name in batch.ids]
        device = batch.waveforms.device
        strengths = torch.tensor([target.strength for target in told], device=device)
        emotions = torch.tensor([target.emotion for target in told], device=device)
        return strength_losses(self.model(batch.waveforms, batch.lengths), strengths, emotions)

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return outputs


def strength_training(config: StrengthTrainingConfig, training: Manifest, seed: int = 0) -> StrengthTraining:
    """An untrained network, and the ranks of the training utterances."""
    if missing := [u.id for u in training.utterances if u.emotion is None or u.audio is None]:
        raise InputError(
            f"objective strength ranks utterances by emotion; {len(missing)} of {len(training)} lack emotion "
            f"or audio, '{missing[0]}' first: `multimodal-ser manifest` leaves them out"
        )
    emotions = [u.emotion for u in training.utterances]
    classes = sorted(set(emotions))
    network = StrengthNet(replace(config.network, classes=max(1, len(classes))))
    statistics = _statistics(network, training)
    ranks = strength_targets(statistics, emotions, seed, config.neutral, config.pairs)
    targets = {
        u.id: Target(float(rank), classes.index(u.emotion))
        for u, rank in zip(training.utterances, ranks, strict=True)
    }
    return StrengthTraining(network, targets)


@torch.inference_mode()
def _statistics(network: StrengthNet, manifest: Manifest) -> NDArray[np.float64]:
    """Mean and deviation (N, 2 F) over the frames of every utterance."""
    rows = []
    for utterance in manifest.utterances:
        wave = torch.from_numpy(load(manifest.audio_path(utterance), utterance.start, utterance.end))
        features, mask = network.features(wave[None], torch.tensor([len(wave)]))
        frames = features[0][mask[0]]
        if not len(frames):
            raise InputError(f"objective strength: '{utterance.id}' has no sound")
        rows.append(torch.cat([frames.mean(0), frames.std(0, correction=0)]).double().numpy())
    return np.stack(rows)
