"""What the conformal intervals of single predictions deliver on a set, against what they promise.

The promise holds for data like the development data; on another set coverage has to be measured, and even
where it holds on average it need not hold for every speaker.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from multimodal_ser import metrics
from multimodal_ser.evaluation.groups import SMALLEST_GROUP
from multimodal_ser.evaluation.values import Values
from multimodal_ser.labels import DIMENSIONS, Scale

SPEAKER_QUANTILES = (0.1, 0.5, 0.9)


def interval_figures(
    values: Values, calibration: dict[str, Any], scale: Scale, seed: int = 0
) -> dict[str, Any]:
    """Coverage with its own interval, width, and how coverage differs between speakers, per dimension."""
    found: dict[str, Any] = {"promised": calibration["coverage"], "dimensions": {}}
    resampling = metrics.Resampling(values.speakers, seed)
    curve = calibration.get("levels")
    for d, name in enumerate(DIMENSIONS):
        inside, width = values.inside[d], values.high[d] - values.low[d]
        known = ~np.isnan(inside)
        if not known.any():
            found["dimensions"][name] = {"utterances": 0}
            continue
        rows = np.stack([known, np.where(known, inside, 0)], axis=1)
        drawn = resampling.draws(rows)
        covered = resampling.interval(float(inside[known].mean()), _share(drawn))
        found["dimensions"][name] = {
            "utterances": int(known.sum()),
            "covered": asdict(covered),
            "width": float(width[known].mean()),
            "speakers": _over_speakers(inside, values.speakers, calibration["coverage"]),
        }
        if curve:
            radii = curve["radius"][values.readings[0]][name]
            found["dimensions"][name]["levels"] = _levels(values, d, curve["coverage"], radii, scale)
    return found


def _over_speakers(inside: np.ndarray, speakers: Sequence[str | None], promised: float) -> dict[str, Any]:
    """Coverage of single speakers, of those with enough utterances."""
    own: dict[str, list[float]] = {}
    for speaker, value in zip(speakers, inside, strict=True):
        if speaker is not None and not np.isnan(value):
            own.setdefault(speaker, []).append(value)
    shares = [float(np.mean(found)) for found in own.values() if len(found) >= SMALLEST_GROUP]
    if not shares:
        return {"speakers": 0}
    low, middle, high = np.quantile(shares, SPEAKER_QUANTILES)
    return {
        "speakers": len(shares),
        "lowest": min(shares),
        "tenth": float(low),
        "median": float(middle),
        "ninetieth": float(high),
        "below_promise": float(np.mean(np.array(shares) < promised)),
    }


def _levels(
    values: Values, dimension: int, levels: Sequence[float], radii: Sequence[float | None], scale: Scale
) -> list[dict[str, float]]:
    """Coverage at several promised levels, from half widths in unit scale."""
    is_labelled = values.is_labelled[dimension]
    error = np.abs(values.said[0, dimension] - values.labels[dimension])[is_labelled]
    span = scale.high - scale.low
    return [
        {"promised": level, "covered": float(np.mean(error <= radius * span))}
        for level, radius in zip(levels, radii, strict=True)
        if radius is not None
    ]


def _share(drawn: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return drawn[:, 1] / drawn[:, 0]
