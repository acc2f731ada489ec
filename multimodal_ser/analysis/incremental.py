"""What a layer adds: truncation, the unique contribution of each layer, and leaving one layer out.

A high probe score does not say that a layer does anything: it may only hand on what came from below. Three
questions about sets of layers get nearer to it, all answered by the same nested ridge probe on the
principal components of the layers in the set:

- truncation: how well do layers 0..k do together? The head is fitted again for each k. (The encoder is
  frozen; to train a truncated encoder anew is another, dearer question.)
- gain, the unique contribution: what does layer k add to layers 0..k-1, in explained variance?
- left out: what is lost when layer k alone is taken from the mix of all? Little, for every layer, where
  neighbours tell the same.

Layers are reduced to principal components by their own variance alone: no label is used. Since the Gram
matrix of a set of layers is a part of that of all, each fold's sums are made once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_ser.analysis.probes import (
    BLOCK,
    FoldSums,
    Probed,
    fold_sums,
    nested_weights,
    standardised,
)
from multimodal_ser.analysis.relevance import Relevance, scored
from multimodal_ser.metrics import Resampling, ccc_of

COMPONENTS = 64  # principal components kept of each layer


@dataclass(frozen=True)
class Increments:
    """What sets of layers carry, (L, K) each."""

    truncation: Relevance  # CCC of layers 0..k
    gain: Relevance  # explained variance of layers 0..k less that of 0..k-1
    left_out: Relevance  # CCC of all layers less that of all but k


def reduced(features: ArrayLike, components: int = COMPONENTS) -> NDArray[np.float64]:
    """The first principal components of each layer of features (N, L, F), (N, L, components).

    Every layer is standardised first; the first component of each has variance 1 and the others keep their
    sizes relative to it, so that a penalty means the same in each layer.
    """
    rows, layers, width = features.shape
    kept = min(components, width, rows - 1)
    out = np.zeros((rows, layers, kept))
    for layer in range(layers):
        x = standardised(features[:, layer], f"layer {layer}")
        covariance = np.zeros((width, width))
        for start in range(0, rows, BLOCK):
            part = x[start : start + BLOCK].astype(np.float64)
            covariance += part.T @ part / rows
        values, vectors = np.linalg.eigh(covariance)
        out[:, layer] = x @ vectors[:, ::-1][:, :kept] / np.sqrt(max(values[-1], 1e-12))
    return out


def increments(
    components: NDArray[np.float64],
    labels: NDArray[np.float64],
    folds: NDArray[np.int64],
    resampling: Resampling,
    progress: Callable[[int], None] = lambda layer: None,
) -> Increments:
    """Truncation, gain and leave-one-out of `reduced` layers (N, L, C) for labels (N, K) without NaN."""
    rows, layers, width = components.shape
    x = components.reshape(rows, layers * width)
    sums = fold_sums(x, labels, folds)
    columns = np.arange(layers * width).reshape(layers, width)
    up_to, but = [], []
    for layer in range(layers):
        up_to.append(_probe(x, labels, folds, sums, columns[: layer + 1].ravel()))
        if layers > 1:
            but.append(_probe(x, labels, folds, sums, np.delete(columns, layer, axis=0).ravel()))
        progress(layer)
    truncation = scored(up_to, labels, resampling)
    explained = scored(up_to, labels, resampling, explained_variance_of)
    return Increments(truncation, explained.gains(), _losses(truncation, but, labels, resampling))


def with_others(
    components: NDArray[np.float64], others: ArrayLike, labels: NDArray[np.float64], folds: NDArray[np.int64]
) -> Probed:
    """One probe of all `reduced` layers (N, L, C) and other features (N, A) together."""
    x = np.concatenate([components.reshape(len(components), -1), standardised(others)], axis=1)
    return _probe(x, labels, folds, fold_sums(x, labels, folds), np.arange(x.shape[1]))


def explained_variance_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - mean squared error / variance of the labels, from moments (..., 6) of predictions and labels."""
    n, _, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    spread = yy - y**2 / np.where(n > 0, n, np.nan)
    is_defined = spread > 1e-12
    return np.where(is_defined, 1 - (xx + yy - 2 * xy) / np.where(is_defined, spread, np.nan), np.nan)


def _losses(
    truncation: Relevance, but: list[Probed], labels: NDArray[np.float64], resampling: Resampling
) -> Relevance:
    """What all layers score beyond all but one; a lone layer loses everything."""
    if not but:
        return truncation
    rest = scored(but, labels, resampling, ccc_of)
    return Relevance(truncation.values[-1] - rest.values, truncation.draws[:, -1:] - rest.draws)


def _probe(
    x: NDArray[np.float64],
    labels: NDArray[np.float64],
    folds: NDArray[np.int64],
    sums: FoldSums,
    chosen: NDArray[np.int64],
) -> Probed:
    origin, penalties = labels.mean(0), np.empty_like(sums.y)
    predictions, intercepts = np.empty_like(labels), np.empty_like(labels)
    for fold, weights, mean_x, mean_y, picked in nested_weights(sums.columns(chosen)):
        held = folds == fold
        intercepts[held] = origin + mean_y
        predictions[held] = origin + mean_y + (x[np.ix_(np.flatnonzero(held), chosen)] - mean_x) @ weights
        penalties[fold] = picked
    return Probed(predictions, intercepts, penalties)
