"""Which utterances of a manifest can be measured, and what they are compared with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.utterances import Utterance

FEWEST = 60  # labelled utterances


@dataclass(frozen=True)
class Comparison:
    """Other features of some of the measured rows, such as the acoustic set or sentence embeddings."""

    rows: NDArray[np.int64]  # among those measured
    features: NDArray[np.float64]  # (len(rows), A) finite


@dataclass(frozen=True)
class Measured:
    """Rows of a manifest that can be measured, and what is known about them."""

    rows: NDArray[np.int64]
    names: tuple[str, ...]  # dimensions
    labels: NDArray[np.float64]  # (N, K)
    speakers: list[str]
    genders: list[str | None]
    left_out: int
    emotions: list[str | None]


def choose(utterances: Sequence[Utterance]) -> Measured:
    """The utterances that can be measured, or what is wrong with all of them."""
    table = np.array(
        [[math.nan if (v := getattr(u, d)) is None else v for d in DIMENSIONS] for u in utterances],
        dtype=float,
    ).reshape(len(utterances), len(DIMENSIONS))
    used = np.flatnonzero((~np.isnan(table)).any(0))
    if not used.size:
        raise InputError(
            "no utterance of this manifest has arousal, valence or dominance: nothing to measure"
        )
    has_all = ~np.isnan(table[:, used]).any(1)
    rows = np.flatnonzero(has_all & np.array([u.speaker is not None for u in utterances]))
    names = tuple(DIMENSIONS[k] for k in used)
    if len(rows) < FEWEST:
        raise InputError(
            f"{len(rows)} of {len(utterances)} utterances have a speaker and {', '.join(names)}; at least "
            f"{FEWEST} are needed. With fewer, no interval would tell one layer from another"
        )
    labels = table[np.ix_(rows, used)]
    if (constant := np.flatnonzero(np.ptp(labels, axis=0) == 0)).size:
        name, value = names[constant[0]], labels[0, constant[0]]
        raise InputError(
            f"{name} is {value:g} for every utterance: what does not vary cannot be read. The likely cause: "
            "a default value in place of missing labels, which should be null"
        )
    some = [utterances[row] for row in rows]
    return Measured(
        rows,
        names,
        labels,
        [u.speaker or "" for u in some],
        [u.gender for u in some],
        len(utterances) - len(rows),
        [u.emotion for u in some],
    )
