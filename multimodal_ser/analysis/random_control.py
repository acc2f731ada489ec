"""What encoders that have learned nothing give, and whether a measured encoder gives more.

Random weights are not nothing: their layers still hold loudness and spectrum, and by luck one draw of them
holds more than another. An encoder that has learned nothing is one more such draw. So the difference to the
mean of several draws has to be larger than both spreads that it has:

- over resampled speakers, everything measured on the same resample;
- over random encoders: what one more of them may differ from the mean of n, which is Student's t with n - 1
  degrees of freedom times their standard deviation times sqrt(1 + 1/n), the prediction interval of a normal
  sample.

The two are added as independent, in squares. The scores of random encoders on these speakers already differ
in part because of the speakers, so the sum is rather too wide than too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from multimodal_ser.analysis.relevance import Relevance, interval_of
from multimodal_ser.errors import InputError
from multimodal_ser.metrics import CONFIDENCE, Interval

FEWEST = 3  # random encoders; from two the spread cannot be told: Student's t is 12.7
USUAL, CHEAP = 5, 10_000  # so many for at most so many utterances, else FEWEST
# Far from the seeds that people choose: an encoder that was made with one of these would be its own control.
FIRST_SEED, SEEDS_APART = 5_000_000, 1_000  # apart: the random encoders of two seeds of a report

RULE = (
    "The interval of the difference to randomly initialised encoders holds two spreads, added in squares: "
    "over resampled speakers, and of one more random encoder around the mean of the n measured ones, which "
    "is Student's t with n - 1 degrees of freedom times their standard deviation times sqrt(1 + 1/n)."
)


@dataclass(frozen=True)
class Beyond:
    """What the best layer of an encoder scores above the mean of the best layers of random ones."""

    interval: Interval
    encoders: int
    spread: float  # standard deviation of the random encoders' best layers

    def __str__(self) -> str:
        one = self.interval
        return (
            f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}] beyond the best layers of {self.encoders} "
            f"randomly initialised encoders, which differ by {self.spread:.3f} (standard deviation)"
        )


def seeds(wanted: int | None, utterances: int, seed: int) -> range:
    """The seeds of the random encoders of a report; `wanted` None = as many as the corpus allows cheaply."""
    count = (USUAL if utterances <= CHEAP else FEWEST) if wanted is None else wanted
    if count < FEWEST:
        raise InputError(
            f"--random-encoders {count}: at least {FEWEST}; how far random encoders differ cannot be told "
            "from fewer, and without that nothing can be concluded"
        )
    first = FIRST_SEED + seed * SEEDS_APART
    return range(first, first + count)


def mean_of(encoders: Sequence[Relevance]) -> Relevance:
    """The curves of random encoders as one: their mean, with draws of one encoder each."""
    which = np.arange(len(encoders[0].draws)) % len(encoders)
    draws = np.stack([one.draws for one in encoders])
    return Relevance(np.mean([one.values for one in encoders], axis=0), draws[which, np.arange(len(which))])


def beyond(measured: Relevance, encoders: Sequence[Relevance], dimension: int = 0) -> Beyond:
    """The best layer of one dimension against the best layers of at least `FEWEST` random encoders."""
    best, draws = _best(measured, dimension)
    others = [_best(one, dimension) for one in encoders]
    scores = np.array([score for score, _ in others])
    value = best - float(scores.mean())
    people = interval_of(value, draws - np.mean([one for _, one in others], axis=0))
    count, spread = len(scores), float(scores.std(ddof=1))
    margin = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread * math.sqrt(1 + 1 / count)
    below, above = max(value - people.low, 0.0), max(people.high - value, 0.0)
    return Beyond(
        Interval(value, value - math.hypot(below, margin), value + math.hypot(above, margin)), count, spread
    )


def _best(measured: Relevance, dimension: int) -> tuple[float, np.ndarray]:
    """The best layer's score and its draws (R,); a layer whose score is undefined is as good as nothing."""
    values, draws = (np.nan_to_num(one) for one in (measured.values, measured.draws))
    return float(values[:, dimension].max()), draws[:, :, dimension].max(1)
