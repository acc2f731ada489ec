"""Metrics as pure functions of NumPy arrays.

Conventions: `predictions` and `labels` are one-dimensional, in the same unit, pooled over all utterances
of a set; variances are population variances; nothing is clipped; a NaN among the inputs gives NaN. A
metric that is undefined (fewer than two values, no spread) is NaN, never a number that looks like a
result.

Intervals come from a bootstrap over speakers, not over utterances: utterances of one speaker are not
independent. All dimensional metrics are functions of six sums (`moments`) and those of classes functions
of a confusion table, so a resample of speakers is a weighted sum of what each speaker adds, and thousands of
resamples are one matrix product. Whatever is compared is measured on the same resamples (`Resampling`).

Metrics
- `ccc`: concordance correlation coefficient (Lin, 1989)
- `pearson`: correlation
- `rmse`, `mae`: root mean squared and mean absolute error
- `weighted_accuracy`, `unweighted_accuracy`, `weighted_f1`: for classes
- `Resampling`, `bootstrap`, `bootstrap_difference`: intervals over speakers
- `conformal_radius`: half width of a split-conformal interval
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
CONFIDENCE = 0.95
_TINY = 1e-12
_CELLS = 1 << 22  # of the table of draws that is held at once: 32 MiB


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it."""

    value: float
    low: float
    high: float


def moments(predictions: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """The six sums that the dimensional metrics are made of: n, x, y, xx, yy, xy. Shape (6,)."""
    x, y = _checked(predictions, labels)
    return np.array([x.size, x.sum(), y.sum(), x @ x, y @ y, x @ y], dtype=np.float64)


def ccc_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Concordance from moments of shape (..., 6)."""
    n, mean_x, mean_y, var_x, var_y, covariance = _central(sums)
    return _ratio(2 * covariance, var_x + var_y + (mean_x - mean_y) ** 2, n >= 2)


def pearson_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation from moments of shape (..., 6)."""
    n, _, _, var_x, var_y, covariance = _central(sums)
    spread = np.sqrt(np.clip(var_x, 0, None) * np.clip(var_y, 0, None))
    return _ratio(covariance, spread, n >= 2)


def rmse_of(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean squared error from moments of shape (..., 6)."""
    n, _, _, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.clip((xx + yy - 2 * xy) / np.where(n > 0, n, np.nan), 0, None))


def ccc(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The concordance correlation coefficient of two series."""
    return float(ccc_of(_centred_moments(predictions, labels)))


def pearson(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The correlation of two series."""
    return float(pearson_of(_centred_moments(predictions, labels)))


def rmse(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The root mean squared difference of two series."""
    return float(rmse_of(_centred_moments(predictions, labels)))


def mae(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The mean absolute difference of two series."""
    x, y = _checked(predictions, labels)
    return float(np.abs(x - y).mean()) if x.size else float("nan")


def confusion(predictions: Sequence[str], labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """How often label (row) was predicted as class (column), in the order of `classes`."""
    if len(predictions) != len(labels):
        raise ValueError(f"{len(predictions)} predictions for {len(labels)} labels")
    position = {name: index for index, name in enumerate(classes)}
    if unknown := sorted({*predictions, *labels} - position.keys()):
        raise ValueError(f"class '{unknown[0]}' is not among {', '.join(classes)}")
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for predicted, label in zip(predictions, labels, strict=True):
        table[position[label], position[predicted]] += 1
    return table


def weighted_accuracy(table: NDArray[np.int64]) -> float:
    """The share of all utterances that are right, from a `confusion` table."""
    return float(np.trace(table) / table.sum()) if table.sum() else float("nan")


def unweighted_accuracy(table: NDArray[np.int64]) -> float:
    """The mean recall of the classes that occur, from a `confusion` table."""
    occurs = table.sum(1) > 0
    return float(np.mean(np.diag(table)[occurs] / table.sum(1)[occurs])) if occurs.any() else float("nan")


def weighted_f1(table: NDArray[np.int64]) -> float:
    """F1 per class, weighted by how often the class occurs, from a `confusion` table."""
    hits, labelled, predicted = np.diag(table), table.sum(1), table.sum(0)
    if not labelled.sum():
        return float("nan")
    f1 = 2 * hits / np.maximum(labelled + predicted, 1)
    return float((f1 * labelled).sum() / labelled.sum())


class Resampling:
    """Resamples of the speakers of a set; every call draws the same ones.

    An utterance whose speaker is None is a cluster of its own. Clusters are numbered by first appearance.
    """

    def __init__(self, speakers: Sequence[str | None], seed: int = 0, resamples: int = RESAMPLES) -> None:
        number: dict[object, int] = {}
        keys = [("unknown", i) if speaker is None else speaker for i, speaker in enumerate(speakers)]
        self.cluster = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
        self.clusters = len(number)
        self.seed = seed
        self.resamples = resamples

    def by_cluster(self, rows: ArrayLike) -> NDArray[np.float64]:
        """Rows of utterances (N, ...) added up within each cluster, (clusters, ...)."""
        rows = np.asarray(rows, dtype=np.float64)
        if len(rows) != len(self.cluster):
            raise ValueError(f"{len(self.cluster)} speakers for {len(rows)} predictions")
        sums = np.zeros((self.clusters, *rows.shape[1:]))
        np.add.at(sums, self.cluster, rows)
        return sums

    def draws(self, rows: ArrayLike) -> NDArray[np.float64]:
        """The sum of rows (N, ...) over each resample, (resamples, ...)."""
        sums = self.by_cluster(rows)
        flat = sums.reshape(self.clusters, -1)
        drawn = np.zeros((self.resamples, flat.shape[1]))
        if self.clusters:
            generator = np.random.default_rng(self.seed)
            shares = np.full(self.clusters, 1 / self.clusters)
            step = max(1, _CELLS // self.clusters)
            for start in range(0, self.resamples, step):
                size = min(step, self.resamples - start)
                drawn[start : start + size] = generator.multinomial(self.clusters, shares, size) @ flat
        return drawn.reshape(self.resamples, *sums.shape[1:])

    def interval(self, value: float, draws: NDArray[np.float64]) -> Interval:
        """An estimate with what it was on the resamples; with fewer than two clusters the ends are NaN."""
        return _interval(value, draws, self.clusters)


def moment_rows(predictions: ArrayLike, labels: ArrayLike, origin: float = 0.0) -> NDArray[np.float64]:
    """What each utterance adds to `moments` about `origin`, (N, 6); nothing where the label is NaN."""
    x, y = _checked(predictions, labels)
    return np.where(np.isnan(y)[:, None], 0.0, _terms(x - origin, y - origin))


def bootstrap(
    metric_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    predictions: ArrayLike,
    labels: ArrayLike,
    speakers: Sequence[str | None],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """A metric, and its interval over resampled speakers; `metric_of` works on moments, such as `ccc_of`."""
    resampling = Resampling(speakers, seed, resamples)
    rows = _rows(predictions, labels)
    return resampling.interval(float(metric_of(rows.sum(0))), metric_of(resampling.draws(rows)))


def bootstrap_difference(
    metric_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    predictions: ArrayLike,
    other_predictions: ArrayLike,
    labels: ArrayLike,
    speakers: Sequence[str | None],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """The first metric minus the second, both always on the same resampled speakers."""
    resampling = Resampling(speakers, seed, resamples)
    rows = np.stack([_rows(predictions, labels), _rows(other_predictions, labels)], axis=1)
    first, second = metric_of(rows.sum(0))
    draws = metric_of(resampling.draws(rows))
    return resampling.interval(float(first - second), draws[:, 0] - draws[:, 1])


def conformal_radius(residuals: ArrayLike, coverage: float) -> float:
    """The half width that covers a new |label - prediction| with at least the probability `coverage`.

    The ceil((n + 1) coverage)-th smallest of n held-out absolute residuals (split-conformal prediction);
    with too few residuals for the promise the interval is unbounded.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is a share between 0 and 1, received {coverage}")
    sizes = np.sort(np.abs(np.asarray(residuals, dtype=np.float64)))
    if np.isnan(sizes).any():
        return float("nan")
    rank = int(np.ceil((sizes.size + 1) * coverage))
    return float(sizes[rank - 1]) if 0 < rank <= sizes.size else float("inf")


def _checked(predictions: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = np.asarray(predictions, dtype=np.float64)
    y = np.asarray(labels, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"predictions and labels are one series each; received shapes {x.shape}, {y.shape}")
    return x, y


def _centred_moments(predictions: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Moments after moving the origin to the mean label: sums of squares then lose no digits."""
    x, y = _checked(predictions, labels)
    origin = y.mean() if y.size else 0.0
    return moments(x - origin, y - origin)


def _central(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(n > 0, n, np.nan)
        mean_x, mean_y = x / size, y / size
        return n, mean_x, mean_y, xx / size - mean_x**2, yy / size - mean_y**2, xy / size - mean_x * mean_y


def _ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], is_enough: NDArray[np.bool_]
) -> NDArray[np.float64]:
    is_defined = is_enough & (denominator > _TINY)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(is_defined, numerator / np.where(is_defined, denominator, np.nan), np.nan)


def _rows(predictions: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """What each utterance adds to `moments` about the mean label; a NaN label gives NaN."""
    x, y = _checked(predictions, labels)
    origin = y.mean() if y.size else 0.0
    return _terms(x - origin, y - origin)


def _terms(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _interval(value: float, draws: NDArray[np.float64], clusters: int) -> Interval:
    defined = draws[~np.isnan(draws)]
    if clusters < 2 or defined.size == 0:
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
