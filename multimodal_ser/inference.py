"""A model folder at work: predictions for the utterances of a manifest, with intervals.

Values are in unit scale and not clipped. `<dimension>` is the fullest reading of the model,
`audio_<dimension>` and `text_<dimension>` the single ones, `<dimension>_low` and `_high` the conformal
interval around the fullest.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.audio_store import decode
from multimodal_ser.batches import DurationBatches
from multimodal_ser.cache import hash_unchanged, write_json
from multimodal_ser.data import Batch, Collate, Examples, iterate, loader
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.metrics import conformal_radius
from multimodal_ser.models.hub import CALIBRATION, found_folder
from multimodal_ser.models.packaged import STARTER, starter_folder
from multimodal_ser.models.ser import WEIGHTS, SerModel

if TYPE_CHECKING:
    import pandas as pd

COVERAGE = 0.9  # of the intervals
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # coverages whose half widths are kept, to see how far they hold
BATCH_SECONDS = 60.0  # of audio at once


class Predictor:
    """A loaded model."""

    def __init__(self, model: SerModel, calibration: dict | None = None, name: str = "") -> None:
        self.model = model.eval()
        self.calibration = calibration
        self.name = name  # hash of the weights: which model made a result

    @classmethod
    def load(cls, folder: str | os.PathLike, device: str = "auto") -> "Predictor":
        """Load a model folder, or the `model` of a run folder."""
        folder = model_folder(folder)
        path = folder / CALIBRATION
        calibration = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        model = SerModel.from_pretrained(folder).to(chosen_device(device))
        return cls(model, calibration, hash_unchanged(folder / WEIGHTS))

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def examples(self, manifest: Manifest, cache: Path | None = None) -> Examples:
        """The utterances of a manifest as this model takes them."""
        store = decode(manifest, cache) if self.model.audio is not None else None
        return Examples(manifest, store, self.model.config.classes)

    @torch.inference_mode()
    def predict(self, examples: Examples, batch_seconds: float = BATCH_SECONDS) -> "pd.DataFrame":
        """One row per utterance, in the order of `examples`."""
        readings = self.model.readings
        values = {name: np.full((len(examples), len(DIMENSIONS)), np.nan) for name in readings}
        shares = np.full((len(examples), len(self.model.config.classes)), np.nan)
        for batch in self.batches(examples, batch_seconds):
            rows = batch.indices.cpu().numpy()
            encoded = self.model.encode(batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask)
            for reading in readings:
                said = self.model.read(encoded, reading)
                values[reading][rows] = said.dimensions.float().cpu().numpy()
                if said.logits is not None and reading == readings[0]:
                    shares[rows] = said.logits.float().softmax(1).cpu().numpy()
        return self._table(examples, values, shares)

    def batches(self, examples: Examples, batch_seconds: float = BATCH_SECONDS) -> Iterator[Batch]:
        """The utterances on this model's device, the longest first."""
        tokenize = self.model.text.tokenize if self.model.text is not None else None
        collate = Collate(self.model.config.classes, tokenize)
        order = DurationBatches(examples.seconds, batch_seconds, shuffle=False).epoch(0)
        return iterate(loader(examples, collate, order), self.device)

    def _table(self, examples: Examples, values: dict[str, NDArray], shares: NDArray) -> "pd.DataFrame":
        import pandas as pd  # which scoring does without: it takes half a second

        columns: dict[str, Sequence] = {"id": [u.id for u in examples.utterances]}
        first, *others = self.model.readings
        for column, dimension in enumerate(DIMENSIONS):
            columns[dimension] = values[first][:, column]
            low, high = self.interval(first, dimension, values[first][:, column])
            columns[f"{dimension}_low"], columns[f"{dimension}_high"] = low, high
        for reading in others:
            for column, dimension in enumerate(DIMENSIONS):
                columns[f"{reading}_{dimension}"] = values[reading][:, column]
        for column, name in enumerate(self.model.config.classes):
            columns[f"share_{name}"] = shares[:, column]
        return pd.DataFrame(columns)

    def interval(self, reading: str, dimension: str, values: NDArray) -> tuple[NDArray, NDArray]:
        """Ends of the conformal intervals around values in unit scale; NaN if the model is not calibrated.

        They are cut at the ends of the scale, where no label can lie, but never leave out the value itself.
        """
        radius = self.radius(reading, dimension)
        low, high = np.maximum(values - radius, 0), np.minimum(values + radius, 1)
        return np.minimum(low, values), np.maximum(high, values)

    def radius(self, reading: str, dimension: str) -> float:
        """Half the width of the conformal interval in unit scale; NaN if the model is not calibrated."""
        if self.calibration is None:
            return float("nan")
        radius = self.calibration["radius"][reading][dimension]
        return float("nan") if radius is None else radius


def calibrate(predictor: Predictor, development: Examples, folder: Path, coverage: float = COVERAGE) -> dict:
    """Half widths of conformal intervals from development data, kept in the model folder.

    They promise the stated coverage for data like the development data, and a little less since the same
    data chose the best epoch; what they deliver on another set has to be measured there.
    """
    table = predictor.predict(development)
    first = predictor.model.readings[0]
    radius: dict[str, dict[str, float | None]] = {reading: {} for reading in predictor.model.readings}
    radii: dict[str, dict[str, list[float | None]]] = {reading: {} for reading in predictor.model.readings}
    for dimension in DIMENSIONS:
        labels = np.array(
            [np.nan if (v := getattr(u, dimension)) is None else v for u in development.utterances],
            dtype=float,
        )
        labelled = ~np.isnan(labels)
        for reading in predictor.model.readings:
            name = dimension if reading == first else f"{reading}_{dimension}"
            residuals = labels[labelled] - table[name].to_numpy()[labelled]
            widths = [conformal_radius(residuals, level) for level in (coverage, *LEVELS)]
            finite = [width if np.isfinite(width) else None for width in widths]
            radius[reading][dimension], radii[reading][dimension] = finite[0], finite[1:]
    predictor.calibration = {
        "coverage": coverage,
        "utterances": len(development),
        "radius": radius,
        "levels": {"coverage": list(LEVELS), "radius": radii},
    }
    write_json(folder / CALIBRATION, predictor.calibration)
    return predictor.calibration


def model_folder(folder: str | os.PathLike) -> Path:
    """`folder`, or the `model` in it if it is a run folder; `starter`, or owner/name of the hub."""
    folder = starter_folder(folder) or found_folder(folder)
    if (folder / "model" / "config.json").is_file():
        return folder / "model"
    if not folder.is_dir():
        raise InputError(f"no such model folder: {folder}; `train` makes one, and '{STARTER}' comes along")
    return folder


def chosen_device(name: str) -> torch.device:
    """`auto` is the first GPU if there is one."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--device {name}: not usable here ({reason}); allowed: auto, cpu, cuda, mps"
        ) from None
    return device
