"""Measures as JSON holds them: an interval is `[value, low, high]`, what is undefined is null."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from multimodal_ser.analysis.relevance import Relevance
from multimodal_ser.metrics import Interval


def curves(measure: Relevance, names: Sequence[str]) -> dict[str, Any]:
    """A curve for each dimension."""
    return {name: curve(measure, k) for k, name in enumerate(names)}


def curve(measure: Relevance, k: int) -> list[Any]:
    """`[value, low, high]` of each layer."""
    return [plain(measure.interval(layer, k)) for layer in range(measure.layers)]


def plain(value: Any) -> Any:
    """JSON-ready: an interval as [value, low, high], NaN as null."""
    if isinstance(value, Interval):
        return [plain(part) for part in (value.value, value.low, value.high)]
    if isinstance(value, dict):
        if value.keys() == {"value", "low", "high"}:  # an interval that asdict took apart
            return [plain(part) for part in value.values()]
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value
