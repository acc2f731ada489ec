"""Figures of the three dimensions: each reading, the differences between two, and calibration.

CCC and Pearson have no unit; RMSE, means and spreads are in the scale of the values. Every interval of a set
comes from the same resamples of its speakers, so differences are paired.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_ser import metrics
from multimodal_ser.evaluation.values import Values
from multimodal_ser.labels import DIMENSIONS

MEASURES = {"ccc": metrics.ccc_of, "pearson": metrics.pearson_of, "rmse": metrics.rmse_of}
BINS = 10  # of equal numbers of predictions, in a calibration curve
SMALLEST_BIN = 10  # utterances


def reading_figures(values: Values, seed: int = 0) -> dict[str, Any]:
    """`readings`, their `mean_ccc` over the dimensions, and the `differences` from the fullest reading."""
    resampling = metrics.Resampling(values.speakers, seed)
    rows = moment_rows_of(values)
    totals, draws = rows.sum(0), resampling.draws(rows)
    ccc, drawn = metrics.ccc_of(totals), metrics.ccc_of(draws)  # (R, D), (resamples, R, D)

    def interval(value: float, draws: NDArray[np.float64]) -> dict[str, float]:
        return asdict(resampling.interval(float(value), draws))

    found: dict[str, Any] = {"readings": {}, "mean_ccc": {}, "differences": {}}
    for r, reading in enumerate(values.readings):
        found["readings"][reading] = {
            name: {
                **summary(values, d, r),
                **{
                    measure: interval(of(totals[r, d]), of(draws[:, r, d]))
                    for measure, of in MEASURES.items()
                    if totals[r, d, 0] > 0
                },
            }
            for d, name in enumerate(DIMENSIONS)
        }
        found["mean_ccc"][reading] = interval(ccc[r].mean(), drawn[:, r].mean(1))
    for r, other in enumerate(values.readings[1:], start=1):
        found["differences"][f"{values.readings[0]} - {other}"] = {
            **{
                name: {"ccc": interval(ccc[0, d] - ccc[r, d], drawn[:, 0, d] - drawn[:, r, d])}
                for d, name in enumerate(DIMENSIONS)
            },
            "mean": {"ccc": interval((ccc[0] - ccc[r]).mean(), (drawn[:, 0] - drawn[:, r]).mean(1))},
        }
    return found


def summary(values: Values, dimension: int, reading: int = 0) -> dict[str, Any]:
    """How many, mean and spread of predictions and, where there are any, of labels."""
    is_labelled = values.is_labelled[dimension]
    x, y = values.said[reading, dimension], values.labels[dimension, is_labelled]
    x = x[is_labelled] if is_labelled.any() else x
    found = {"utterances": int(is_labelled.sum()), "mean": float(x.mean()), "spread": float(x.std())}
    if is_labelled.any():
        found |= {"label_mean": float(y.mean()), "label_spread": float(y.std())}
    return found


def calibration(values: Values, seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """The mean label for predictions of about the same size, with its interval, in up to ten bins."""
    found: dict[str, list[dict[str, Any]]] = {}
    resampling = metrics.Resampling(values.speakers, seed)
    for d, name in enumerate(DIMENSIONS):
        is_labelled = values.is_labelled[d]
        said, labels = values.said[0, d], np.where(is_labelled, values.labels[d], 0.0)
        count = min(BINS, int(is_labelled.sum()) // SMALLEST_BIN)
        if count < 2 or np.isnan(said).any():
            found[name] = []
            continue
        edges = np.quantile(said[is_labelled], np.linspace(0, 1, count + 1)[1:-1])
        member = np.searchsorted(edges, said)[:, None] == np.arange(count)  # (N, bins)
        member = member & is_labelled[:, None]
        rows = np.stack([member, member * labels[:, None]], axis=1)  # (N, 2, bins)
        sizes, sums = rows.sum(0)
        drawn = resampling.draws(rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = drawn[:, 1] / drawn[:, 0]  # a resample may leave a bin empty
        found[name] = [
            {
                "utterances": int(sizes[b]),
                "said": float(said[member[:, b]].mean()),
                "label": asdict(resampling.interval(float(sums[b] / sizes[b]), means[:, b])),
            }
            for b in range(count)
            if sizes[b]
        ]
    return found


def moment_rows_of(values: Values) -> NDArray[np.float64]:
    """(N, R, D, 6), each dimension about its mean label so that sums of squares lose no digits."""
    is_labelled = values.is_labelled
    sizes = is_labelled.sum(1)
    origin = np.where(is_labelled, values.labels, 0.0).sum(1) / np.maximum(sizes, 1)
    per_reading = [
        np.stack(
            [metrics.moment_rows(said[d], values.labels[d], origin[d]) for d in range(len(DIMENSIONS))],
            axis=1,
        )
        for said in values.said
    ]
    return np.stack(per_reading, axis=1)
