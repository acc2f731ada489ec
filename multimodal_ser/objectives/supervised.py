"""Supervised training: 1 - CCC per dimension, with squared error and class cross-entropy as options.

To make one model give fused, audio-only and text-only readings, a branch is hidden at random from the
fused reading (`hide`, modality dropout), and both single readings are trained as well
(`single_readings`).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multimodal_ser import metrics
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.losses import concordance_loss, soft_cross_entropy, squared_error
from multimodal_ser.models.ser import SerModel, SerOutput
from multimodal_ser.objectives.objective import Gather, Objective


@dataclass(frozen=True)
class SupervisedConfig:
    """Weights of the parts of the loss."""

    concordance: float = 1.0
    squared_error: float = 0.2
    classes: float = 0.0  # weight of the class cross-entropy
    single_readings: float = 0.5  # weight of the audio-only and of the text-only reading
    hide: float = 0.1  # probability that the fused reading lacks the audio, and that it lacks the text

    def __post_init__(self) -> None:
        for name in ("concordance", "squared_error", "classes", "single_readings"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)}: the weight of a loss is not negative")
        if not 0 <= self.hide <= 0.5:
            raise InputError(f"hide = {self.hide}: a probability from 0 to 0.5, since both branches have it")
        if self.concordance + self.squared_error + self.classes <= 0:
            raise InputError("all parts of the loss have weight 0: there is nothing to train on")


class Supervised(Objective):
    """Train a `SerModel` on labels."""

    whole_batch = True

    def __init__(self, model: SerModel, config: SupervisedConfig) -> None:
        super().__init__()
        if config.classes and not model.config.classes:
            raise InputError("the loss has a weight for classes, but the model has none: name model.classes")
        if model.config.classes and not config.classes:
            raise InputError(
                "the model has classes, but the loss has no weight for them, so they would stay as random as "
                "they begin: set loss.classes, or leave model.classes out"
            )
        self.model = model
        self.config = config

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        heard = None
        if batch.features is not None:
            heard = self.model.audio.forward_from_front_end(batch.features, batch.lengths)
        encoded = self.model.encode(batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask, heard)
        rows = {"targets": batch.targets, "class_shares": batch.class_shares}
        for number, reading in enumerate(self.model.readings):
            hidden = self._hidden(batch.size, batch.targets.device) if number == 0 else None
            said: SerOutput = self.model.read(encoded, reading, hidden)
            rows[reading] = said.dimensions.float()
            if said.logits is not None:
                rows[f"{reading}_logits"] = said.logits.float()
        return rows

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        config = self.config
        named: dict[str, Tensor] = {}
        loss = outputs["targets"].new_zeros(())
        for number, reading in enumerate(self.model.readings):
            disagreement = concordance_loss(outputs[reading], outputs["targets"])
            error = squared_error(outputs[reading], outputs["targets"])
            part = config.concordance * disagreement + config.squared_error * error
            named[f"{reading}_concordance"] = disagreement
            if config.classes:
                cross_entropy = soft_cross_entropy(outputs[f"{reading}_logits"], outputs["class_shares"])
                named[f"{reading}_classes"] = cross_entropy
                part = part + config.classes * cross_entropy
            loss = loss + (1.0 if number == 0 else config.single_readings) * part
        return {"loss": loss, **named}

    @torch.inference_mode()
    def validate(self, batches: Iterable[Batch], gather: Gather) -> dict[str, float]:
        """CCC per reading and dimension; the score is the mean of the fullest reading's, or its accuracy."""
        parts = [self.outputs(batch) for batch in batches]
        rows = {name: gather(torch.cat([part[name] for part in parts])).cpu().numpy() for name in parts[0]}
        found: dict[str, float] = {}
        for reading in self.model.readings:
            for column, dimension in enumerate(DIMENSIONS):
                labels = rows["targets"][:, column]
                labelled = ~np.isnan(labels)
                if labelled.sum() >= 2:
                    said = rows[reading][labelled, column]
                    found[f"{reading}_{dimension}"] = metrics.ccc(said, labels[labelled])
            if self.model.config.classes:
                found[f"{reading}_accuracy"] = self._accuracy(rows, reading)
        first = self.model.readings[0]
        scores = [found[f"{first}_{name}"] for name in DIMENSIONS if f"{first}_{name}" in found]
        if not scores and self.model.config.classes:
            scores = [found[f"{first}_accuracy"]]
        if not scores:
            raise InputError("no development utterance is labelled: there is nothing to select a model by")
        return {**found, "score": float(np.mean(scores))}

    def _hidden(self, size: int, device: torch.device) -> dict[str, Tensor] | None:
        """Which utterances lack which branch in this step; never both."""
        if not self.training or len(self.model.readings) == 1 or not self.config.hide:
            return None
        die = torch.rand(size, device=device)
        return {"audio": die < self.config.hide, "text": die > 1 - self.config.hide}

    def _accuracy(self, rows: dict[str, np.ndarray], reading: str) -> float:
        """The mean recall of the classes."""
        labelled = ~np.isnan(rows["class_shares"]).any(1)
        names = self.model.config.classes
        said = [names[i] for i in rows[f"{reading}_logits"][labelled].argmax(1)]
        labels = [names[i] for i in rows["class_shares"][labelled].argmax(1)]
        return metrics.unweighted_accuracy(metrics.confusion(said, labels, names))
