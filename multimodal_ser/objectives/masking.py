"""Emotion-guided masking by energy (Chen et al., Vesper, 2024): small spans from loud and from soft speech.

The level of a frame is its root mean square, and the bands are shares of the utterance's own maximum: high
from 0.5, low from 0.2 to 0.49; what is softer is taken for silence. Half of the small spans start in the
high band, the others in the low one, starts at least a frame more than a span apart; what finds no room is
filled by random starts that keep the distance too. Large spans begin where small ones do.

`as_released` is what the published code does. It multiplies its thresholds by the maximum of one utterance
after the other and never sets them back, so behind the second of a batch nearly nothing lies in a band; it
spaces shuffled starts as if they were sorted; and its random starts may lie on other spans. There an
utterance depends on its batch mates; under every other policy it does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.objectives.mask_statistics import Drawn

POLICIES = ("emotion", "random", "as_released")
LEVEL_WINDOW = 400  # samples that the level of a frame covers


@dataclass(frozen=True)
class BandConfig:
    """How much is hidden, and where; sizes are frames of 20 ms."""

    policy: str = "emotion"
    share: float = 0.64  # of the frames, for small and for large spans alike
    small: int = 8
    most_small: int = 20
    large: int = 40
    most_large: int = 4
    high: tuple[float, float] = (0.5, 1.0)  # shares of the utterance's maximum
    low: tuple[float, float] = (0.2, 0.49)

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            hint = nearest(self.policy, list(POLICIES))
            raise InputError(f"masking policy '{self.policy}'{hint}; known: {', '.join(POLICIES)}")
        if not 0 < self.share <= 1:
            raise InputError(f"masking share = {self.share}; it lies above 0 and is at most 1")
        if min(self.small, self.large, self.most_small, self.most_large) < 1:
            raise InputError("masking: lengths and numbers of spans are 1 or more")
        for name in ("high", "low"):
            least, most = getattr(self, name)
            if not 0 <= least <= most <= 1:
                raise InputError(f"masking band {name} = {least}, {most}: from 0 to 1, the lesser first")


class Masks(NamedTuple):
    """Small and large spans of one utterance."""

    small: Drawn
    large: Drawn


def frame_levels(waveform: NDArray[np.floating], frames: int, hop: int) -> NDArray[np.float64]:
    """Root mean square (frames,) of 400 samples every `hop`, without the recording's offset."""
    wave = np.asarray(waveform, dtype=np.float64)
    wave = wave - wave.mean() if len(wave) else wave
    wave = np.pad(wave, (0, max(0, (frames - 1) * hop + LEVEL_WINDOW - len(wave))))
    windows = np.lib.stride_tricks.sliding_window_view(wave, LEVEL_WINDOW)[::hop][:frames]
    return np.sqrt(np.square(windows).mean(1))


def draw(
    levels: Sequence[NDArray[np.float64]], config: BandConfig, randoms: Sequence[np.random.Generator]
) -> list[Masks]:
    """The spans of the utterances of a batch, each from its own levels (T,) and random numbers."""
    scale = np.ones(4)
    drawn = []
    for level, random in zip(levels, randoms, strict=True):
        loudest = float(level.max(initial=0.0))
        scale = scale * loudest if config.policy == "as_released" else np.full(4, loudest)
        edges = scale * np.array([*config.high, *config.low])
        # Silence has no band: every frame of it is as loud as the loudest.
        in_high = (level >= edges[0]) & (level <= edges[1]) & (loudest > 0)
        in_low = (level >= edges[2]) & (level <= edges[3]) & (loudest > 0)
        drawn.append(_masks(in_high, in_low, config, random))
    return drawn


def _masks(
    in_high: NDArray[np.bool_], in_low: NDArray[np.bool_], config: BandConfig, random: np.random.Generator
) -> Masks:
    frames = len(in_high)
    released = config.policy == "as_released"
    band = in_high | in_low
    wanted = min(config.most_small, int(frames * config.share / config.small))
    if wanted == 0 or frames < config.small:
        small = _to_the_end(frames, random)
    else:
        groups: list[NDArray[np.int64]] = []
        if config.policy != "random":
            groups = [np.flatnonzero(in_high), np.flatnonzero(in_low)]
        small = _starts(groups, (wanted // 2, wanted), config.small, frames, released, random)
    wanted = min(config.most_large, int(frames * config.share / config.large))
    if wanted == 0 or frames < config.large:
        large = _to_the_end(frames, random)
    else:
        large = _starts([small], (wanted,), config.large, frames, released, random)
    return Masks(
        Drawn(small, config.small, frames, band[small]),
        Drawn(large, config.large, frames, np.isin(large, small)),
    )


def _to_the_end(frames: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Too short for a span: one from a random start to the end."""
    return random.integers(0, frames, size=min(1, frames))


def _starts(
    groups: Sequence[NDArray[np.int64]],
    counts: Sequence[int],
    span: int,
    frames: int,
    released: bool,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    """Starts from one group after the other until there are as many as its count says, the rest at random.

    counts: how many there are to be behind each group; the last says how many in all.
    """
    last, gap = frames - span, span + 1
    if released:
        return _released_starts(groups, counts, last, gap, random)
    chosen: list[int] = []
    free = np.ones(last + 1, dtype=bool)
    for group, count in zip(
        [*groups, np.arange(last + 1)], [*counts[: len(groups)], counts[-1]], strict=True
    ):
        for start in random.permutation(group[group <= last]).tolist():
            if len(chosen) >= count:
                break
            if free[start]:
                chosen.append(start)
                free[max(0, start - gap + 1) : start + gap] = False
    return np.sort(np.array(chosen, dtype=np.int64))


def _released_starts(
    groups: Sequence[NDArray[np.int64]],
    counts: Sequence[int],
    last: int,
    gap: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    found: list[int] = []
    for group, count in zip(groups, counts, strict=False):
        found += random.permutation(group)[: max(0, count - len(found))].tolist()
    for place in range(1, len(found)):
        # Right for ascending starts; these are shuffled, so most are pushed behind the end.
        if found[place] - found[place - 1] < gap:
            found[place] = found[place - 1] + gap
    kept = [start for start in found if start <= last]
    missing = max(0, counts[-1] - len(kept))
    return np.sort(np.array([*kept, *random.integers(0, last + 1, size=missing)], dtype=np.int64))
