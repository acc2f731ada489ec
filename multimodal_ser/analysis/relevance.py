"""A measure of every layer for every dimension, with what it is on resampled speakers.

`values` is (L, K), `draws` (R, L, K): the same measure on R resamples of the speakers, all layers and
dimensions on the same resample, so that anything computed from a whole curve has an interval too. Higher
means that the layer carries more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.analysis.probes import Probed
from multimodal_ser.metrics import CONFIDENCE, Interval, Resampling, ccc_of, moment_rows


@dataclass(frozen=True)
class Relevance:
    """How much each layer carries of each dimension, by one measure."""

    values: NDArray[np.float64]  # (L, K)
    draws: NDArray[np.float64]  # (R, L, K)

    @property
    def layers(self) -> int:
        return self.values.shape[0]

    def interval(self, layer: int, dimension: int) -> Interval:
        """The measure of one layer and its interval over speakers."""
        return interval_of(float(self.values[layer, dimension]), self.draws[:, layer, dimension])

    def by_layer(self) -> list["Relevance"]:
        """The same, one layer at a time."""
        return [Relevance(self.values[[k]], self.draws[:, [k]]) for k in range(self.layers)]

    def gains(self) -> "Relevance":
        """What each layer adds to the one before it; the first adds to nothing, which scores 0."""
        return Relevance(
            np.diff(self.values, axis=0, prepend=0.0),
            np.diff(self.draws, axis=1, prepend=0.0),
        )


def interval_of(value: float, draws: NDArray[np.float64]) -> Interval:
    """A value with the middle `CONFIDENCE` of its draws; without draws the ends are NaN."""
    defined = draws[~np.isnan(draws)]
    if defined.size == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))


def scored(
    probed: Sequence[Probed],
    labels: NDArray[np.float64],
    resampling: Resampling,
    metric_of: Callable[[NDArray[np.float64]], NDArray[np.float64]] = ccc_of,
) -> Relevance:
    """A dimensional metric of the held-out predictions of several probes.

    The intercept of a fold is the mean label of all others, so it is high where the held-out labels are low:
    left in, it would make a probe of nothing look worse than nothing. One intercept for all takes its place.
    """
    values, draws = [], []
    for one in probed:
        level = np.nanmean(labels, axis=0)
        predictions = np.where(np.isnan(labels), level, one.predictions - one.intercepts + level)
        rows = np.stack(
            [moment_rows(predictions[:, k], labels[:, k], level[k]) for k in range(labels.shape[1])], axis=1
        )
        values.append(metric_of(rows.sum(0)))
        draws.append(metric_of(resampling.draws(rows)))
    return Relevance(np.stack(values), np.stack(draws, axis=1))
