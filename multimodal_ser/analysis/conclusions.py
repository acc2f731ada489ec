"""What follows from the measures, computed by stated rules and never written by hand.

Depth is relative: 0 is the input of the first block, 1 the output of the last. All intervals come from the
same resampled speakers, so a quantity of two curves is computed resample by resample.
What is concluded follows `RULES`, which every report prints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.analysis import random_control
from multimodal_ser.analysis.relevance import Relevance, interval_of
from multimodal_ser.metrics import Interval

CHANCE = 0.95  # quantile of the best layer under permuted labels
SURE = 0.95
AGREEING = 2
APART = 0.25  # of the depth
ALIKE = 0.3  # Spearman's rank correlation

RULES = (
    "A dimension can be read if, at the layer that is read best, the lower end of its interval lies above "
    f"what the best layer under permuted labels reaches in {CHANCE:.0%} of the draws and, where randomly "
    "initialised encoders were measured, the interval of the difference to their best layers lies above "
    "zero.",
    random_control.RULE,
    "By one measure, valence lies deeper than arousal if its centre of mass does so in at least "
    f"{SURE:.0%} of the resamples, not deeper if in at most {1 - SURE:.0%}, else it is open.",
    f"'Valence lies deeper than arousal' is supported if both can be read, at least {AGREEING} measures say "
    "deeper and none says not deeper; not supported if one cannot be read, or at least one measure says not "
    "deeper and none says deeper; otherwise undecided.",
    "Emotion classes can be read if the lower end of the balanced accuracy of the best layer lies above that "
    "of guessing and, where randomly initialised encoders were measured, the interval of the difference to "
    "their best layers lies above zero.",
    "The layers tell more of a dimension than a baseline (acoustic set, words) does if the dimension can be "
    "read, and the interval of the CCC that all layers together add to that baseline lies above zero.",
    f"Two measures disagree about a dimension if their best layers lie more than {APART:.0%} of the depth "
    f"apart or the rank correlation of their curves is below {ALIKE}.",
)

BEYOND = "the layers tell more of"  # how the claims about baselines begin
SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"


@dataclass(frozen=True)
class Place:
    """Where a dimension lies by one measure."""

    best_layer: int
    best_score: Interval
    best_depth: Interval
    centre: Interval  # centre of mass, relative depth


@dataclass(frozen=True)
class Verdict:
    """A claim, what the rules say of it, and why in words."""

    claim: str
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Disagreement:
    """How far two measures agree about a dimension."""

    dimension: str
    measures: tuple[str, str]
    rank_correlation: float
    best_layers: tuple[int, int]
    disagree: bool


def centre_of_mass(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre of mass (..., K) on the depth axis of scores (..., L, K).

    A layer weighs what it scores above the worst layer, and above zero: what all layers have says nothing
    about which one matters. A flat curve has no centre: NaN. So has a lone layer.
    """
    mass = np.clip(scores - np.clip(scores.min(axis=-2, keepdims=True), 0, None), 0, None)
    total = mass.sum(-2)
    depth = np.linspace(0, 1, scores.shape[-2])
    is_defined = total > 1e-9
    return np.where(
        is_defined, np.einsum("l,...lk->...k", depth, mass) / np.where(is_defined, total, 1), np.nan
    )


def place(measure: Relevance, dimension: int) -> Place:
    """Best layer and centre of mass of one dimension, with intervals over speakers."""
    values, draws = _filled(measure.values), _filled(measure.draws)
    last = max(measure.layers - 1, 1)
    best = int(values[:, dimension].argmax())
    return Place(
        best_layer=best,
        best_score=measure.interval(best, dimension),
        best_depth=interval_of(best / last, draws[:, :, dimension].argmax(1) / last),
        centre=interval_of(float(centre_of_mass(values)[dimension]), centre_of_mass(draws)[:, dimension]),
    )


def share_deeper(measure: Relevance, deeper: int, shallower: int) -> float:
    """The share of resamples in which one dimension has its centre of mass deeper than another."""
    centres = centre_of_mass(_filled(measure.draws))
    difference = centres[:, deeper] - centres[:, shallower]
    defined = difference[~np.isnan(difference)]
    if defined.size == 0:
        return float("nan")
    return float((defined > 0).mean() + (defined == 0).mean() / 2)


def carried(
    dimension: int, name: str, probes: Relevance, permuted: Relevance, random: Sequence[Relevance] = ()
) -> Verdict:
    """The first rule: can the dimension be read beyond what the controls give?"""
    found = place(probes, dimension).best_score
    chance = float(np.nanquantile(permuted.draws[:, :, dimension].max(1), CHANCE))
    reasons = [
        f"CCC {shown(found)} at layer {place(probes, dimension).best_layer}; the best layer under permuted "
        f"labels stays below {chance:.3f} in {CHANCE:.0%} of the draws"
    ]
    passed = found.low > chance  # false for NaN: an unknown interval supports nothing
    if random:
        beyond = random_control.beyond(probes, random, dimension)
        reasons.append(str(beyond))
        passed = passed and beyond.interval.low > 0
    return Verdict(
        f"{name} can be read from the encoder", SUPPORTED if passed else NOT_SUPPORTED, tuple(reasons)
    )


def beyond_baseline(name: str, baseline: str, added: Interval, carrier: Verdict) -> Verdict:
    """The rule on baselines: do the layers tell more than other features do alone?"""
    reasons = [f"all layers add {shown(added)} CCC to {baseline}"]
    if carrier.verdict != SUPPORTED:
        reasons.append(f"{carrier.claim}: {carrier.verdict}")
    passed = carrier.verdict == SUPPORTED and added.low > 0
    claim = f"{BEYOND} {name} than {baseline}"
    return Verdict(claim, SUPPORTED if passed else NOT_SUPPORTED, tuple(reasons))


def order(
    measures: Mapping[str, Relevance], names: Sequence[str], carriers: Sequence[Verdict],
    deeper: str = "valence", shallower: str = "arousal",
) -> Verdict:  # fmt: skip
    """The second and third rule: does one dimension lie deeper than another?

    carriers: the verdicts of the first rule on both.
    """
    shares = {
        name: share_deeper(measure, names.index(deeper), names.index(shallower))
        for name, measure in measures.items()
    }
    said = {
        name: "deeper" if share >= SURE else "not deeper" if share <= 1 - SURE else "open"
        for name, share in shares.items()
    }
    reasons = [f"{name}: {word} (probability {shares[name]:.2f})" for name, word in said.items()]
    reasons += [f"{one.claim}: {one.verdict}" for one in carriers if one.verdict != SUPPORTED]
    votes = list(said.values())
    if reasons[len(said) :] or ("not deeper" in votes and "deeper" not in votes):
        verdict = NOT_SUPPORTED
    elif votes.count("deeper") >= AGREEING and "not deeper" not in votes:
        verdict = SUPPORTED
    else:
        verdict = UNDECIDED
    return Verdict(f"{deeper} lies deeper than {shallower}", verdict, tuple(reasons))


def agreements(measures: Mapping[str, Relevance], names: Sequence[str]) -> list[Disagreement]:
    """The last rule for every two measures and every dimension."""
    found = []
    for (first, a), (second, b) in combinations(measures.items(), 2):
        for k, dimension in enumerate(names):
            x, y = _filled(a.values)[:, k], _filled(b.values)[:, k]
            correlation = rank_correlation(x, y)
            best = int(x.argmax()), int(y.argmax())
            is_apart = abs(best[0] - best[1]) / max(len(x) - 1, 1) > APART
            disagree = is_apart or not correlation >= ALIKE
            found.append(Disagreement(dimension, (first, second), correlation, best, disagree))
    return found


def rank_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; NaN if one of the two does not vary."""
    a, b = _ranks(x), _ranks(y)
    spread = a.std() * b.std()
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else float("nan")


def _ranks(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _filled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores with 0 where one is undefined, as for a layer that says the same of every utterance."""
    return np.nan_to_num(scores, nan=0.0)


def shown(interval: Interval) -> str:
    """An interval in words."""
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
