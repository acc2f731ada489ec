"""Which frames emotional masking hides (Liu & Ma, Interspeech 2024): spans from where emotion is intense.

The intended rule: as many spans as the share asks for, taken from the most intense start downward, each
start at least `min_gap` frames from every other; what finds no room is filled by random starts that keep
the gap too. The intensity of a span is the mean over its frames; ties are broken at random, so silence is
masked as by chance.

`as_released` is the published rule. It takes the 2K most intense frames without a gap, so its spans
overlap: on smooth intensity it hides 3 to 7 % of the frames where 15 % are meant.

One generator per utterance: what is hidden depends on nothing but that utterance, the epoch and the seed.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.errors import InputError

ZERO, SWAP, KEEP = "zero", "swap", "keep"


@dataclass(frozen=True)
class SpanConfig:
    """How much is hidden, and where."""

    share: float = 0.15  # of the valid frames
    span: int = 7  # frames
    min_gap: int = 7  # frames from one start to the next
    policy: str = "intense"  # intense, random or as_released
    zero: float = 0.8  # of the utterances: the spans are set to zero
    swap: float = 0.1  # of the utterances: the spans are replaced by other spans; the rest is left as it is

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"share = {self.share}: the share of hidden frames lies between 0 and 1")
        if self.span < 1 or self.min_gap < 1:
            raise InputError(f"span = {self.span}, min_gap = {self.min_gap}: both are 1 frame or more")
        if self.policy not in ("intense", "random", "as_released"):
            raise InputError(f"policy '{self.policy}' is unknown; known: intense, random, as_released")
        if self.zero < 0 or self.swap < 0 or self.zero + self.swap > 1:
            raise InputError(f"zero = {self.zero}, swap = {self.swap}: probabilities with a sum of at most 1")


def generator_for(identifier: str, epoch: int, seed: int = 0) -> np.random.Generator:
    """The random numbers of one utterance in one epoch, whatever else is in its batch."""
    digest = hashlib.sha256(f"{seed}:{epoch}:{identifier}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def span_starts(
    intensity: NDArray[np.floating], config: SpanConfig, random: np.random.Generator
) -> NDArray[np.int64]:
    """Ascending starts of the hidden spans of an utterance with `intensity` (T,) over its valid frames."""
    frames = len(intensity)
    if frames == 0:
        return np.zeros(0, dtype=np.int64)
    if frames <= config.span:
        return np.zeros(1, dtype=np.int64)  # shorter than a span: its one span is cut at the end
    wanted = max(1, round(config.share * frames / config.span))
    if config.policy == "as_released":
        return _released(np.asarray(intensity), config, wanted, random)
    order = random.permutation(frames - config.span + 1)
    if config.policy == "intense":
        sums = np.concatenate([[0.0], np.cumsum(intensity, dtype=np.float64)])
        means = np.round((sums[config.span :] - sums[: -config.span]) / config.span, 9)
        order = order[np.argsort(-means[order], kind="stable")]
    return _spaced(order, config.min_gap, wanted)


def in_band(starts: NDArray[np.int64], intensity: NDArray[np.floating], span: int) -> NDArray[np.bool_]:
    """Whether each span is more intense than half of the spans that there could be: half are, by chance."""
    sums = np.concatenate([[0.0], np.cumsum(intensity, dtype=np.float64)])
    places = np.arange(max(1, len(intensity) - span + 1))
    means = (
        sums[np.minimum(places + span, len(intensity))] - sums[np.minimum(places, len(intensity))]
    ) / span
    return means[starts] > np.median(means)


def hidden_frames(starts: NDArray[np.int64], frames: int, span: int) -> NDArray[np.bool_]:
    """Mask (frames,), True where a span lies."""
    hidden = np.zeros(frames, dtype=bool)
    for start in starts:
        hidden[start : start + span] = True
    return hidden


def corruption(config: SpanConfig, random: np.random.Generator) -> str:
    """What becomes of the spans of an utterance: one die for all of them."""
    die = random.random()
    return ZERO if die < config.zero else SWAP if die < config.zero + config.swap else KEEP


def sources(
    starts: NDArray[np.int64], frames: int, span: int, action: str, random: np.random.Generator
) -> NDArray[np.int64]:
    """For each frame the frame that it is replaced by, itself where it stays, -1 where it becomes zero."""
    origin = np.arange(frames)
    for start in starts:
        stop = min(start + span, frames)
        if action == ZERO:
            origin[start:stop] = -1
        elif action == SWAP:
            other = random.integers(0, frames - (stop - start) + 1)
            origin[start:stop] = np.arange(other, other + stop - start)
    return origin


def _spaced(order: NDArray[np.int64], gap: int, wanted: int) -> NDArray[np.int64]:
    """The first `wanted` of `order` that keep the gap to those before them."""
    free = np.ones(int(order.max()) + 1, dtype=bool)
    chosen: list[int] = []
    for start in order.tolist():
        if free[start]:
            chosen.append(start)
            free[max(0, start - gap + 1) : start + gap] = False
            if len(chosen) == wanted:
                break
    return np.sort(np.array(chosen, dtype=np.int64))


def _released(
    intensity: NDArray, config: SpanConfig, wanted: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """The published rule: top frames without a gap, or random starts for all if they do not suffice."""
    frames = len(intensity)
    top = np.argsort(-intensity, kind="stable")[: min(2 * wanted, frames)]
    found = top[top <= frames - config.span - 1][:wanted]
    if len(found) < wanted:
        room = frames - config.span
        found = random.choice(room, size=min(wanted, room), replace=False)
    return np.sort(found.astype(np.int64))
