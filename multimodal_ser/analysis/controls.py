"""Controls that can fail: what a layer report must beat, and what it may be measuring instead.

- permuted labels: the same probes on labels that belong to other utterances. Across speakers, nothing
  should be left; within speakers, what is left is what is known from who speaks.
- speaker, gender and duration: how much of them each layer carries. A layer that carries emotion only where
  it carries the speaker says little about emotion.
- baselines: a probe of any other features, such as the acoustic set or a text embedding, alone. The same
  probes on the layers of randomly initialised encoders are judged in `random_control`.

Shapes as in `probes`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_ser.analysis.probes import (
    FOLDS,
    PENALTIES,
    fold_sums,
    in_few_columns,
    nested_weights,
    probe,
    probe_layers,
    row_folds,
    standardised,
)
from multimodal_ser.analysis.relevance import Relevance, scored
from multimodal_ser.errors import InputError
from multimodal_ser.metrics import Resampling

COPIES = 20  # permutations


def permuted(
    labels: NDArray[np.float64], speakers: Sequence[str], within: bool, copies: int = COPIES, seed: int = 0
) -> NDArray[np.float64]:
    """Labels (N, K) given to other utterances, of the same speaker if `within`. (N, copies, K)"""
    generator = np.random.default_rng(seed)
    out = np.empty((len(labels), copies, labels.shape[1]))
    _, owner = np.unique(np.asarray(speakers), return_inverse=True)
    groups = (
        [np.flatnonzero(owner == s) for s in range(owner.max() + 1)] if within else [np.arange(len(labels))]
    )
    for copy in range(copies):
        for rows in groups:
            out[rows, copy] = labels[generator.permutation(rows)]
    return out


def permuted_control(
    features: ArrayLike,
    labels: NDArray[np.float64],
    speakers: Sequence[str],
    folds: NDArray[np.int64],
    resampling: Resampling,
    within: bool = False,
    copies: int = COPIES,
    seed: int = 0,
) -> Relevance:
    """CCC of the probes of each layer on permuted labels.

    `values` is the mean over permutations; `draws` are resamples of the speakers, each of one permutation, so
    they hold the spread of both.
    """
    shuffled = permuted(labels, speakers, within, copies, seed)
    flat = shuffled.reshape(len(labels), -1)
    return over_copies(scored(probe_layers(features, flat, folds), flat, resampling), copies)


def over_copies(found: Relevance, copies: int) -> Relevance:
    """The scores of `permuted` labels, all copies side by side, as those of one control."""
    layers, dimensions = found.layers, found.values.shape[1] // copies
    draws = found.draws.reshape(-1, layers, copies, dimensions)
    which = np.arange(len(draws)) % copies
    return Relevance(
        found.values.reshape(layers, copies, dimensions).mean(1), draws[np.arange(len(draws)), :, which]
    )


def baseline(
    features: ArrayLike, labels: NDArray[np.float64], folds: NDArray[np.int64], resampling: Resampling
) -> Relevance:
    """CCC of a probe of other features (N, F), as if they were the only layer of an encoder."""
    return scored([probe(features, labels, folds)], labels, resampling)


def durations(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the duration probe tells: the logarithm of the duration, (N, 1)."""
    return np.log(np.maximum(seconds, 1e-3))[:, None]


def duration_probe(
    features: ArrayLike, seconds: NDArray[np.float64], folds: NDArray[np.int64], resampling: Resampling
) -> Relevance:
    """CCC with which each layer tells the logarithm of the duration, (L, 1)."""
    target = durations(seconds)
    return scored(probe_layers(features, target, folds), target, resampling)


def gender_probe(
    features: ArrayLike, genders: Sequence[str], folds: NDArray[np.int64], resampling: Resampling
) -> Relevance:
    """Balanced accuracy with which each layer tells the gender of unseen speakers, (L, 1)."""
    return class_probe(features, genders, folds, resampling)


def speaker_probe(features: ArrayLike, speakers: Sequence[str], seed: int = 0) -> Relevance:
    """Balanced accuracy with which each layer tells known speakers apart, (L, 1).

    Here the folds share speakers, and the draws resample utterances: it is about these speakers.
    """
    folds = row_folds(speakers, FOLDS, seed)
    return class_probe(features, speakers, folds, Resampling([None] * len(speakers), seed))


def class_probe(
    features: ArrayLike, classes: Sequence[str], folds: NDArray[np.int64], resampling: Resampling
) -> Relevance:
    """Balanced accuracy of a ridge classifier on each layer, (L, 1); guessing scores 1 / classes."""
    names, target = np.unique(np.asarray(classes), return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"a class probe needs two classes or more; received only {', '.join(map(str, names))}"
        )
    hits = np.stack(
        [classify(features[:, layer], target, folds) == target for layer in range(features.shape[1])], axis=1
    )
    member = np.eye(len(names))[target]  # (N, classes)
    counts = resampling.draws(member)
    # (draws, classes): the recall of each class in each resample, where it occurs
    recalls = [resampling.draws(member * hits[:, [layer]]) for layer in range(hits.shape[1])]
    draws = np.stack([_mean_recall(right, counts) for right in recalls], axis=1)
    values = [
        _mean_recall((member * hits[:, [layer]]).sum(0), member.sum(0)) for layer in range(hits.shape[1])
    ]
    return Relevance(np.array(values)[:, None], draws[:, :, None])


def classify(
    x: ArrayLike, target: NDArray[np.int64], folds: NDArray[np.int64], penalties: Sequence[float] = PENALTIES
) -> NDArray[np.int64]:
    """The class (N,) that a ridge classifier gives each held-out row.

    It regresses membership in each class, with rows that count as much as their class is rare, so that a rare
    class is worth as much as a common one (scikit-learn's class_weight="balanced").
    """
    x = in_few_columns(standardised(x))
    sizes = np.bincount(target)
    membership = np.eye(len(sizes))[target]
    sums = fold_sums(x, membership, folds, (len(target) / (len(sizes) * sizes))[target])
    said = np.empty(len(target), dtype=np.int64)
    for fold, weights, mean_x, mean_y, _ in nested_weights(sums, penalties):
        held = np.flatnonzero(folds == fold)
        said[held] = (membership.mean(0) + mean_y + (x[held] - mean_x) @ weights).argmax(1)
    return said


def _mean_recall(right: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    occurs = counts > 0
    recalls = np.where(occurs, right / np.where(occurs, counts, 1), 0)
    return recalls.sum(-1) / np.maximum(occurs.sum(-1), 1)
