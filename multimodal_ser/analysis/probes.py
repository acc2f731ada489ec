"""Ridge probes: what can be read linearly from each layer, on speakers that were never seen.

Shapes: N utterances, L layers, F features of a layer (mean and standard deviation over time of each unit),
K targets (dimensions, or columns that stand for classes). `features` (N, L, F) may be a memory map of any
float type; it is read one layer at a time.

The folds hold whole speakers. For each held-out fold the penalty of each target is chosen by the squared
error on the other folds, each of them left out in turn; so a layer's score has seen nothing of the speakers
it is measured on. Everything is solved from sums over each fold: the Gram matrix of all folds but two is a
difference of matrices, and its eigenvectors give the solution for every target and every penalty at once
(Hoerl and Kennard, 1970).

Features are standardised once over all rows, which uses no label and makes layers of different norm equal.
A penalty is per row: `penalty * n` is what scikit-learn calls alpha.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from multimodal_ser.errors import InputError

FOLDS = 5
PENALTIES = tuple(
    float(x) for x in 10.0 ** np.arange(-4, 3.1, 0.5)
)  # per row, in units of a feature's variance
BLOCK = 4096  # rows worked on at a time
_TINY = 1e-10  # share of a feature's mean square below which its spread is rounding


@dataclass(frozen=True)
class Probed:
    """Predictions for each utterance by the probe that had not seen its speaker."""

    predictions: NDArray[np.float64]  # (N, K)
    intercepts: NDArray[np.float64]  # (N, K) mean label of the training folds, part of the prediction
    penalties: NDArray[np.float64]  # (folds, K) chosen

    def targets(self, chosen: slice) -> "Probed":
        """The same for some of the targets."""
        return Probed(self.predictions[:, chosen], self.intercepts[:, chosen], self.penalties[:, chosen])


@dataclass(frozen=True)
class FoldSums:
    """Sums over the rows of each fold, of standardised features and of labels about their mean."""

    rows: NDArray[np.float64]  # (folds,) how many, or how much they count
    x: NDArray[np.float64]  # (folds, F)
    y: NDArray[np.float64]  # (folds, K)
    xx: NDArray[np.float64]  # (folds, F, F)
    xy: NDArray[np.float64]  # (folds, F, K)
    yy: NDArray[np.float64]  # (folds, K)

    def columns(self, chosen: NDArray[np.int64]) -> "FoldSums":
        """The sums as they would be with some of the features only."""
        return FoldSums(
            self.rows,
            self.x[:, chosen],
            self.y,
            self.xx[:, chosen[:, None], chosen],
            self.xy[:, chosen],
            self.yy,
        )

    def without(self, *held_out: int) -> tuple[NDArray[np.float64], ...]:
        """The sums over all folds but some, in the order of the fields."""
        kept = [fold for fold in range(len(self.rows)) if fold not in held_out]
        return tuple(getattr(self, name)[kept].sum(0) for name in ("rows", "x", "y", "xx", "xy", "yy"))


class SomeRows:
    """Some rows of features (N, L, F), which stay where they are until one layer is asked for."""

    def __init__(self, features: NDArray, rows: NDArray[np.int64]) -> None:
        self.features, self.rows = features, rows
        self.shape = (len(rows), *features.shape[1:])

    def __getitem__(self, index: tuple[slice, int]) -> NDArray:
        rows, layer = index
        return self.features[self.rows[rows], layer]


def speaker_folds(speakers: Sequence[str], count: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold 0..count-1 for each utterance; no speaker is in two, and folds are of similar size."""
    sizes = Counter(speakers)
    if len(sizes) < count:
        raise InputError(
            f"{len(sizes)} speaker(s) among {len(speakers)} utterances: too few for {count} folds that share "
            "no speaker. Allowed: at least as many speakers as folds. Without other speakers nothing can be "
            "said about anybody but these"
        )
    order = sorted(sizes)
    np.random.default_rng(seed).shuffle(order)
    filled = np.zeros(count)
    fold_of = {}
    for speaker in sorted(order, key=lambda name: -sizes[name]):
        fold_of[speaker] = int(filled.argmin())
        filled[fold_of[speaker]] += sizes[speaker]
    return np.array([fold_of[speaker] for speaker in speakers])


def row_folds(classes: Sequence[str], count: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """A fold for each utterance such that every class is spread evenly over the folds."""
    generator = np.random.default_rng(seed)
    names = np.asarray(classes)
    folds = np.empty(len(names), dtype=np.int64)
    for start, name in enumerate(sorted(set(classes))):
        rows = generator.permutation(np.flatnonzero(names == name))
        folds[rows] = (np.arange(len(rows)) + start) % count
    return folds


def standardised(x: ArrayLike, name: str = "features") -> NDArray[np.float32 | np.float64]:
    """Features (N, F) with mean 0 and variance 1; those that do not vary become 0.

    Half precision becomes single, anything wider stays as it is.
    """
    x = np.asarray(x)
    x = x.astype(np.float32) if x.dtype.itemsize < 4 else x.copy()
    mean, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for rows in _blocks(len(x)):
        mean += x[rows].sum(0, dtype=np.float64) / len(x)
    if not np.isfinite(mean).all():
        bad = int((~np.isfinite(x).all(1)).sum())
        raise InputError(
            f"{name}: {bad} of {len(x)} rows hold NaN or infinity; allowed are finite numbers. The likely "
            "cause: an utterance without any audio, or activations beyond the range of half precision (65504)"
        )
    for rows in _blocks(len(x)):
        square += np.square(x[rows] - mean, dtype=np.float64).sum(0) / len(x)
    varies = square > _TINY * (mean**2 + square)
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, square, 1)), 0)
    for rows in _blocks(len(x)):
        x[rows] = (x[rows] - mean) * scale
    return x


def in_few_columns(x: NDArray[np.float32 | np.float64]) -> NDArray[np.float32 | np.float64]:
    """The same rows (N, F) turned into the directions they span, if there are fewer rows than columns.

    Ridge regression sees nothing but products of rows, which a rotation keeps, so nothing changes but the
    size of what has to be solved.
    """
    if len(x) > x.shape[1]:
        return x
    wide = x.astype(np.float64)
    values, vectors = np.linalg.eigh(wide @ wide.T)
    kept = values > max(values[-1], 0) * 1e-14
    return vectors[:, kept] * np.sqrt(values[kept])


def fold_sums(
    x: NDArray, y: NDArray[np.float64], folds: NDArray[np.int64], counts: NDArray[np.float64] | None = None
) -> FoldSums:
    """The sums of standardised features (N, F) and labels (N, K), whose mean is taken off, in each fold.

    counts: how much each row counts (N,); None = once.
    """
    count, width, targets = int(folds.max()) + 1, x.shape[1], y.shape[1]
    counts = np.ones(len(x)) if counts is None else counts
    xx, xy = np.zeros((count, width, width)), np.zeros((count, width, targets))
    sx = np.zeros((count, width))
    centred = y - y.mean(0)
    for fold in range(count):
        members = np.flatnonzero(folds == fold)
        for rows in _blocks(len(members)):
            part = x[members[rows]].astype(np.float64)
            counted = part * counts[members[rows], None]
            xx[fold] += counted.T @ part
            xy[fold] += counted.T @ centred[members[rows]]
            sx[fold] += counted.sum(0)
    member = np.eye(count)[:, folds] * counts  # (folds, N)
    return FoldSums(member.sum(1), sx, member @ centred, xx, xy, member @ np.square(centred))


class RidgePath:
    """Ridge regression on some rows, given by their sums, for every penalty."""

    def __init__(self, rows, x, y, xx, xy, _yy) -> None:
        self.mean_x, self.mean_y = x / rows, y / rows
        covariance = xx / rows - np.outer(self.mean_x, self.mean_x)
        self.values, self.vectors = np.linalg.eigh(covariance)
        self.values = np.clip(self.values, 0, None)
        self.projected = self.vectors.T @ (xy / rows - np.outer(self.mean_x, self.mean_y))

    def weights(self, penalties: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights (F, K) with one penalty for each target."""
        return self.vectors @ (self.projected / (self.values[:, None] + penalties))

    def squared_errors(self, penalties: Sequence[float], sums: FoldSums, fold: int) -> NDArray[np.float64]:
        """The sum of squared errors (penalties, K) on the rows of one fold."""
        n, x, y = sums.rows[fold], sums.x[fold], sums.y[fold]
        shape = len(penalties), len(self.mean_y)
        shrunk = self.projected[:, None] / (self.values[:, None] + np.asarray(penalties))[:, :, None]
        w = self.vectors @ shrunk.reshape(len(x), -1)  # (F, penalties * K)
        offset = self.mean_y - (self.mean_x @ w).reshape(shape)
        # sum (y - offset - x w)^2, multiplied out
        squared = np.einsum("fk,fk->k", w, sums.xx[fold] @ w).reshape(shape) + n * offset**2 + sums.yy[fold]
        by_target = np.einsum("fpk,fk->pk", w.reshape(len(x), *shape), sums.xy[fold])
        cross = offset * (x @ w).reshape(shape) - by_target - offset * y
        return squared + 2 * cross


def nested_weights(
    sums: FoldSums, penalties: Sequence[float] = PENALTIES
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """For each fold: its number, weights (F, K), mean of x (F,), mean of y (K,), penalties chosen (K,)."""
    count = len(sums.rows)
    errors = np.zeros((count, len(penalties), sums.y.shape[1]))
    for first in range(count):
        for second in range(first + 1, count):
            path = RidgePath(*sums.without(first, second))
            # Without both: tunes `first` by its error on `second`, and the other way round.
            errors[first] += path.squared_errors(penalties, sums, second)
            errors[second] += path.squared_errors(penalties, sums, first)
    for fold in range(count):
        chosen = np.asarray(penalties)[errors[fold].argmin(0)]
        path = RidgePath(*sums.without(fold))
        yield fold, path.weights(chosen), path.mean_x, path.mean_y, chosen


def probe(
    x: ArrayLike,
    labels: ArrayLike,
    folds: NDArray[np.int64],
    penalties: Sequence[float] = PENALTIES,
    name: str = "features",
) -> Probed:
    """Held-out predictions of labels (N, K) from features (N, F); NaN where a label is NaN."""
    x, y = in_few_columns(standardised(x, name)), np.asarray(labels, dtype=np.float64)
    is_labelled = ~np.isnan(y)
    result = _empty(y, int(folds.max()) + 1)
    for pattern in np.unique(is_labelled, axis=1).T:  # targets with the same labelled rows share their sums
        targets = np.flatnonzero((is_labelled == pattern[:, None]).all(0))
        rows = np.flatnonzero(pattern)
        every = len(rows) == len(x)
        sums = fold_sums(x if every else x[rows], y[np.ix_(rows, targets)], folds[rows])
        _predict(result, x, y, sums, penalties, rows, targets, folds)
    return result


def probe_layers(
    features: ArrayLike,
    labels: ArrayLike,
    folds: NDArray[np.int64],
    penalties: Sequence[float] = PENALTIES,
    progress: Callable[[int], None] = lambda layer: None,
) -> list[Probed]:
    """A probe of each layer of features (N, L, F); `progress` is told each layer that is done."""
    probed = []
    for layer in range(features.shape[1]):
        probed.append(probe(features[:, layer], labels, folds, penalties, f"layer {layer}"))
        progress(layer)
    return probed


def _predict(
    result: Probed,
    x: NDArray,
    y: NDArray[np.float64],
    sums: FoldSums,
    penalties: Sequence[float],
    rows: NDArray[np.int64],
    targets: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> None:
    """Fill in what the probes of some targets say about the rows that are labelled with them."""
    origin = y[np.ix_(rows, targets)].mean(0)
    for fold, weights, mean_x, mean_y, chosen in nested_weights(sums, penalties):
        members = rows[folds[rows] == fold]
        place = np.ix_(members, targets)
        result.intercepts[place] = origin + mean_y
        result.predictions[place] = origin + mean_y + (x[members] - mean_x) @ weights
        result.penalties[fold, targets] = chosen


def _empty(y: NDArray[np.float64], folds: int) -> Probed:
    return Probed(np.full(y.shape, np.nan), np.full(y.shape, np.nan), np.full((folds, y.shape[1]), np.nan))


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK):
        yield slice(start, min(start + BLOCK, count))
