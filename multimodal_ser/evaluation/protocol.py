"""What stands beside every number: the set, how the model was chosen, and how things were computed."""

from collections.abc import Sequence
from typing import Any

from multimodal_ser import metrics
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.labels import Scale
from multimodal_ser.manifests import Header
from multimodal_ser.set_facts import set_facts
from multimodal_ser.utterances import Utterance

CCC_FORMULA = "2 cov / (var + var + (mean - mean)^2), population variance, pooled over the set, unclipped"


def protocol(
    header: Header,
    utterances: Sequence[Utterance],
    name: str,
    scale: Scale,
    seconds: Sequence[float] | None = None,
    training: TrainingData | None = None,
) -> dict[str, Any]:
    """The protocol of one set."""
    folds = {u.fold for u in utterances}
    overlap = None if training is None else training.overlap(utterances)
    return {
        "corpus": header.corpus,
        "version": header.version,
        "licence": header.licence,
        "set": name,
        "fold": next(iter(folds)) if len(folds) == 1 else None,
        **set_facts(utterances, seconds),
        "training": overlap,
        "selection": selection(overlap),
        "ccc": CCC_FORMULA,
        "intervals": f"{metrics.CONFIDENCE:.0%}, {metrics.RESAMPLES} resamples of speakers",
        "scale": str(scale),
    }


def selection(overlap: dict[str, Any] | None) -> str:
    """Whether a set is a test: how the model was chosen, and whether this set had a part in it."""
    if overlap is None:
        return "not known without a run folder or --train-manifest; this set may have had a part in it"
    if count := overlap["utterances_trained_on"]:
        return f"NOT A TEST: the model was trained on {count:,} of these utterances"
    if count := overlap["utterances_chosen_by"]:
        return f"NOT A TEST: the model was chosen and calibrated by {count:,} of these utterances"
    return "best mean CCC on the development split; no utterance of this set was trained on or chosen by"
