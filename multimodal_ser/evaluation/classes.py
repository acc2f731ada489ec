"""Figures of a class head: accuracies and F1 with intervals over speakers, and the confusion table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from multimodal_ser import metrics
from multimodal_ser.utterances import Utterance

MEASURES = {
    "weighted_accuracy": metrics.weighted_accuracy,
    "unweighted_accuracy": metrics.unweighted_accuracy,
    "weighted_f1": metrics.weighted_f1,
}


def class_figures(
    table: pd.DataFrame, utterances: Sequence[Utterance], classes: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Measured on the utterances whose consensus label is one of `classes`; the others are counted."""
    is_labelled = np.array([u.emotion in classes for u in utterances], dtype=bool)
    shares = table[[f"share_{name}" for name in classes]].to_numpy(dtype=np.float64)[is_labelled]
    own = [u for u, labelled in zip(utterances, is_labelled, strict=True) if labelled]
    found: dict[str, Any] = {
        "utterances": len(own),
        "other_or_no_label": len(utterances) - len(own),
        "classes": list(classes),
    }
    if not own:
        return found
    said = [classes[i] for i in shares.argmax(1)]
    resampling = metrics.Resampling([u.speaker for u in own], seed)
    cells = np.zeros((len(own), len(classes), len(classes)))
    for row, (label, predicted) in enumerate(zip([u.emotion for u in own], said, strict=True)):
        cells[row, classes.index(label), classes.index(predicted)] = 1
    draws = resampling.draws(cells)
    counts = metrics.confusion(said, [u.emotion for u in own], classes)
    for name, of in MEASURES.items():
        found[name] = asdict(resampling.interval(of(counts), np.array([of(drawn) for drawn in draws])))
    found["occurring"] = int((counts.sum(1) > 0).sum())
    found["most_frequent_class"] = {
        "class": classes[int(counts.sum(1).argmax())],
        "weighted_accuracy": float(counts.sum(1).max() / counts.sum()),
    }
    found["confusion"] = counts.tolist()
    return found
