"""Predictions beside labels, on one scale.

R readings, D = 3 dimensions in the order of `DIMENSIONS`, N utterances; NaN = not labelled, or no interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multimodal_ser.labels import DIMENSIONS, UNIT, Scale
from multimodal_ser.utterances import Utterance


@dataclass(frozen=True)
class Values:
    """What a model said about some utterances and what raters said."""

    readings: tuple[str, ...]  # the fullest first
    said: NDArray[np.float64]  # (R, D, N)
    low: NDArray[np.float64]  # (D, N) ends of the interval around the fullest reading
    high: NDArray[np.float64]
    labels: NDArray[np.float64]  # (D, N)
    utterances: list[Utterance]

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        utterances: Sequence[Utterance],
        readings: Sequence[str],
        scale: Scale = UNIT,
    ) -> "Values":
        """From a predictor's table, in unit scale, and the utterances it is about, in the same order."""
        assert table["id"].tolist() == [u.id for u in utterances], "predictions belong to other utterances"
        said = [[_column(table, name, reading, readings[0]) for name in DIMENSIONS] for reading in readings]
        low, high = ([_column(table, f"{name}_{end}") for name in DIMENSIONS] for end in ("low", "high"))
        labels = [
            [np.nan if (value := getattr(u, name)) is None else value for u in utterances]
            for name in DIMENSIONS
        ]
        arrays = [scale.from_unit(np.array(x, dtype=np.float64)) for x in (said, low, high, labels)]
        return cls(tuple(readings), *arrays, list(utterances))

    def only(self, keep: NDArray[np.bool_]) -> "Values":
        """The utterances (N,) for which `keep` is true."""
        chosen = [u for u, kept in zip(self.utterances, keep, strict=True) if kept]
        return replace(
            self,
            said=self.said[..., keep],
            low=self.low[:, keep],
            high=self.high[:, keep],
            labels=self.labels[:, keep],
            utterances=chosen,
        )

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """(D, N)"""
        return ~np.isnan(self.labels)

    @property
    def inside(self) -> NDArray[np.float64]:
        """Whether the label lies in its interval, (D, N); NaN without label or interval."""
        is_inside = (self.low <= self.labels) & (self.labels <= self.high)
        is_known = self.is_labelled & ~np.isnan(self.low) & ~np.isnan(self.high)
        return np.where(is_known, is_inside, np.nan)

    @property
    def speakers(self) -> list[str | None]:
        return [u.speaker for u in self.utterances]


def _column(table: pd.DataFrame, name: str, reading: str = "", first: str = "") -> NDArray[np.float64]:
    return table[name if reading == first else f"{reading}_{name}"].to_numpy(dtype=np.float64)
