"""A scored episode in a few numbers: per speaker and as a whole.

Means are weighted by duration. Segments that follow each other are alike, so their number says little about
how sure a mean is: intervals come from resampling blocks of a speaker's segments of about `BLOCK_SECONDS`
of speech, and are left out where there are fewer than `FEWEST_BLOCKS`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.labels import DIMENSIONS, Scale
from multimodal_ser.podcast.timeline import NO_WORDS, UNTRUSTED, Scored

BLOCK_SECONDS = 60.0  # of speech; moods of a conversation last about as long
FEWEST_BLOCKS = 4
RESAMPLES = 1_000
COVERAGE = 0.95
MIDDLE = 0.5  # unit scale
REGIONS = {  # of the plane of arousal and valence, each a quarter: (high arousal, high valence)
    "excited": (True, True),
    "tense": (True, False),
    "calm": (False, True),
    "low": (False, False),
}
FACTS = ("mean", "mean_low", "mean_high", "spread", "change", "change_low", "change_high")  # of a dimension
_DECIMALS = 6


def summarise(segments: Sequence[Scored], seconds: float) -> dict[str, Any]:
    """Episode and speakers; values in the unit scale of `segments`, shares 0..1, times in seconds."""
    names = list(dict.fromkeys(segment.speaker for segment in segments))
    speakers = [
        {"speaker": name, **_facts([s for s in segments if s.speaker == name], seconds)} for name in names
    ]
    return {"episode": _facts(segments, seconds), "speakers": speakers}


def in_scale(summary: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    """A summary in another scale than the unit's: means moved, differences stretched, shares as they were."""
    span = scale.high - scale.low
    values = ("mean", "mean_low", "mean_high")

    def converted(facts: Mapping[str, Any]) -> dict[str, Any]:
        dimensions = {
            name: {
                fact: value if value is None else scale.from_unit(value) if fact in values else value * span
                for fact, value in of_dimension.items()
            }
            for name, of_dimension in facts["dimensions"].items()
        }
        apart = facts["disagreement"]
        return {**facts, "dimensions": dimensions, "disagreement": None if apart is None else apart * span}

    return {
        "episode": converted(summary["episode"]),
        "speakers": [converted(facts) for facts in summary["speakers"]],
    }


def _facts(segments: Sequence[Scored], seconds: float) -> dict[str, Any]:
    durations = np.array([segment.seconds for segment in segments])
    total = float(durations.sum())
    apart = [(s.disagreement, s.seconds) for s in segments if s.disagreement is not None]
    return {
        "segments": len(segments),
        "speech_seconds": _round(total),
        "read_share": _share([s.text_source not in (UNTRUSTED, NO_WORDS) for s in segments], durations),
        "untrusted_share": _share([s.text_source == UNTRUSTED for s in segments], durations),
        "disagreement": _round(_mean(np.array(apart)[:, 0], np.array(apart)[:, 1])) if apart else None,
        "dimensions": {name: _dimension(segments, durations, name, seconds) for name in DIMENSIONS},
        "regions": _regions(segments, durations),
    }


def _dimension(
    segments: Sequence[Scored], durations: NDArray, name: str, seconds: float
) -> dict[str, float | None]:
    fused = [segment.dimensions[name].fused for segment in segments]
    values = np.array([np.nan if value is None else value for value in fused])
    known = ~np.isnan(values)
    if not known.any():
        return dict.fromkeys(FACTS)
    values, weights = values[known], durations[known]
    speakers = [s.speaker for s, is_known in zip(segments, known, strict=True) if is_known]
    middles = np.array([(s.start + s.end) / 2 for s in segments])[known]
    blocks = _blocks(speakers, weights)
    third = np.where(middles < seconds / 3, -1, np.where(middles >= 2 * seconds / 3, 1, 0))
    sums = _sums(values, weights, third, blocks)
    mean, change = _mean_and_change(sums.sum(0))
    draws = _mean_and_change(_resampled(sums)) if len(sums) >= FEWEST_BLOCKS else (None, None)
    spread = float(np.sqrt(_mean((values - mean) ** 2, weights)))
    return {
        "mean": _round(float(mean)),
        **_interval("mean", draws[0]),
        "spread": _round(spread),
        "change": None if np.isnan(change) else _round(float(change)),  # last third minus first third
        **_interval("change", None if np.isnan(change) else draws[1]),
    }


def _blocks(speakers: Sequence[str | None], weights: NDArray) -> NDArray[np.int64]:
    """The block of each segment: about a minute of one speaker's speech, in order."""
    heard: dict[str | None, float] = {}
    number: dict[tuple[str | None, int], int] = {}
    blocks = []
    for speaker, weight in zip(speakers, weights, strict=True):
        before = heard.get(speaker, 0.0)
        blocks.append(number.setdefault((speaker, int(before // BLOCK_SECONDS)), len(number)))
        heard[speaker] = before + float(weight)
    return np.array(blocks, dtype=np.int64)


def _sums(values: NDArray, weights: NDArray, third: NDArray, blocks: NDArray) -> NDArray:
    """Weight and weighted value of each block, over all, the first and the last third: (blocks, 3, 2)."""
    sums = np.zeros((int(blocks.max()) + 1, 3, 2))
    for part, inside in enumerate((np.ones(len(values), bool), third == -1, third == 1)):
        rows = np.stack([weights, weights * values], axis=1) * inside[:, None]
        np.add.at(sums[:, part], blocks, rows)
    return sums


def _mean_and_change(sums: NDArray) -> tuple[NDArray, NDArray]:
    """Of sums (..., 3, 2); NaN where a third holds nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums[..., 1] / sums[..., 0]
    return means[..., 0], means[..., 2] - means[..., 1]


def _resampled(sums: NDArray) -> NDArray:
    count = len(sums)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return (draws @ sums.reshape(count, -1)).reshape(RESAMPLES, 3, 2)


def _interval(name: str, draws: NDArray | None) -> dict[str, float | None]:
    if draws is None or np.isnan(draws).mean() > 1 - COVERAGE:
        return {f"{name}_low": None, f"{name}_high": None}
    low, high = np.nanquantile(draws, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return {f"{name}_low": _round(float(low)), f"{name}_high": _round(float(high))}


def _regions(segments: Sequence[Scored], durations: NDArray) -> dict[str, float | None]:
    shares = {}
    known = [(s.dimensions["arousal"].fused, s.dimensions["valence"].fused) for s in segments]
    usable = np.array([a is not None and v is not None for a, v in known], bool)
    for name, (is_high, is_good) in REGIONS.items():
        inside = [
            a is not None and v is not None and (a >= MIDDLE) == is_high and (v >= MIDDLE) == is_good
            for a, v in known
        ]
        shares[name] = _share(np.array(inside, bool)[usable], durations[usable])
    return shares


def _share(inside: Sequence[bool] | NDArray, durations: NDArray) -> float | None:
    total = float(durations.sum())
    return _round(float(durations[np.array(inside, bool)].sum()) / total) if total else None


def _mean(values: NDArray, weights: NDArray) -> float:
    return float((values * weights).sum() / weights.sum())


def _round(value: float) -> float:
    return round(value, _DECIMALS)
