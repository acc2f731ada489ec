"""Relative attributes (Parikh & Grauman, ICCV 2011): how much of an emotion, from which of two has more.

Neutral against emotional speech gives ordered pairs (the emotional one has more), two of a kind give
similar pairs. A ranking function w x is fitted so that ordered pairs differ by at least 1 and similar pairs
by little:

    |w|^2 / 2 + C sum max(0, 1 - w (x_more - x_less))^2 + C sum (w (x_a - x_b))^2

The objective is convex and piecewise quadratic, so Newton steps on the pairs inside the margin end at its
minimum.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.errors import InputError

STEPS = 50  # Newton steps at most; a handful is usual
_STILL = 1e-9  # gradient, relative to that at zero, at which the minimum is reached


def fit_ranking(
    features: NDArray[np.floating],
    ordered: NDArray[np.integer],
    similar: NDArray[np.integer],
    cost: float = 1.0,
) -> NDArray[np.float64]:
    """The weights (F,) that rank `features` (N, F).

    ordered: (P, 2) rows, the first has more. similar: (Q, 2) rows.
    """
    if len(ordered) == 0:
        raise InputError("no ordered pairs: a ranking needs neutral and emotional utterances")
    if cost <= 0:
        raise InputError(f"cost = {cost}; it must be positive")
    x = np.asarray(features, dtype=np.float64)
    apart = x[ordered[:, 0]] - x[ordered[:, 1]]
    alike = x[similar[:, 0]] - x[similar[:, 1]] if len(similar) else np.zeros((0, x.shape[1]))
    fixed = np.eye(x.shape[1]) + 2 * cost * alike.T @ alike
    w = np.zeros(x.shape[1])
    start = None
    for _ in range(STEPS):
        inside = apart[apart @ w < 1]
        gradient = fixed @ w - 2 * cost * inside.T @ (1 - inside @ w)
        start = np.linalg.norm(gradient) if start is None else start
        if np.linalg.norm(gradient) <= _STILL * max(start, 1.0):
            break
        step = np.linalg.solve(fixed + 2 * cost * inside.T @ inside, -gradient)
        w = w + _length(w, step, apart, fixed, cost) * step
    return w


def pairs(
    emotional: NDArray[np.bool_], count: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`count` random ordered pairs, emotional first, and `count` similar pairs, from `emotional` (N,)."""
    more, less = np.flatnonzero(emotional), np.flatnonzero(~emotional)
    if len(more) == 0 or len(less) == 0:
        raise InputError(f"{len(more)} emotional and {len(less)} neutral utterances: a ranking needs both")
    ordered = np.stack([random.choice(more, count), random.choice(less, count)], axis=1)
    similar = np.concatenate([random.choice(kind, (count // 2, 2)) for kind in (more, less)])
    return ordered, similar


def unit_scores(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores brought to [0, 1]; all alike become 0.5."""
    low, high = float(np.min(scores)), float(np.max(scores))
    return (
        (np.asarray(scores, dtype=np.float64) - low) / (high - low)
        if high > low
        else np.full(len(scores), 0.5)
    )


def _length(w: NDArray, step: NDArray, apart: NDArray, fixed: NDArray, cost: float) -> float:
    """1, or halved until the objective falls."""

    def objective(at: NDArray) -> float:
        return 0.5 * at @ fixed @ at + cost * np.square(np.maximum(0, 1 - apart @ at)).sum()

    before, length = objective(w), 1.0
    while objective(w + length * step) > before and length > 1e-6:
        length /= 2
    return length


def strength_targets(
    features: NDArray[np.floating],
    emotions: Sequence[str],
    seed: int = 0,
    neutral: str = "neutral",
    count: int = 1000,
) -> NDArray[np.float64]:
    """Strength (N,) in [0, 1] of each utterance: its rank among its own class and neutral speech.

    A neutral utterance gets the mean of what all rankings say of it. count: pairs per class.
    """
    names = np.asarray(emotions)
    x = np.asarray(features, dtype=np.float64)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    calm = names == neutral
    targets = np.zeros(len(names))
    others = [name for name in sorted(set(emotions)) if name != neutral]
    if not others or not calm.any():
        raise InputError(f"classes {sorted(set(emotions))}: a ranking needs '{neutral}' and an emotion")
    for number, name in enumerate(others):
        rows = np.flatnonzero(calm | (names == name))
        random = np.random.default_rng((seed, number))
        scores = unit_scores(x[rows] @ fit_ranking(x[rows], *pairs(names[rows] == name, count, random)))
        targets[rows] += np.where(calm[rows], scores / len(others), scores)
    return targets
