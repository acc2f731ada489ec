"""Where each cycle of the voice begins, and how much consecutive cycles differ: jitter and shimmer.

Within a voiced stretch the strongest peak of its polarity starts a chain; each next mark is where the
waveform around it resembles that around the last one most, near one period on (waveform matching, as in
Praat and openSMILE). Times are samples, refined between samples by a parabola.
"""

import numpy as np
from numpy.typing import NDArray

SEARCH = 0.2  # share of the period by which the next cycle may come early or late
MAX_RATIO = 1.3  # consecutive periods further apart are an octave slip, not jitter (Praat's limit)
FEWEST_CYCLES = 5  # of a stretch


def cycles(
    samples: NDArray[np.float64],
    pitch: NDArray[np.float64],
    is_voiced: NDArray[np.bool_],
    hop: float,
    frame: float,
    sample_rate: int,
) -> list[NDArray[np.float64]]:
    """Marks of the cycles of each voiced stretch, in samples; `pitch` (T,) in Hz belongs to frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_voiced, [False]]).astype(int)))
    middle = frame / 2
    found = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        start, stop = (round((middle + hop * frame_number) * sample_rate) for frame_number in (first, last))
        periods = sample_rate / pitch[first:last]
        if stop - start < FEWEST_CYCLES * periods.mean():
            continue
        times = (middle + hop * np.arange(first, last)) * sample_rate
        marks = _chain(samples, start, min(stop, len(samples)), times, periods)
        if len(marks) >= FEWEST_CYCLES:
            found.append(np.array(marks))
    return found


def perturbation(
    samples: NDArray[np.float64], marks: list[NDArray[np.float64]], sample_rate: int
) -> tuple[float, float]:
    """Jitter (share of the mean period) and shimmer (dB) over all stretches; NaN without cycles."""
    steps, lengths, changes = [], [], []
    for stretch in marks:
        periods = np.diff(stretch)
        ratio = periods[1:] / periods[:-1]
        is_usual = (ratio < MAX_RATIO) & (ratio > 1 / MAX_RATIO)
        steps.append(np.abs(np.diff(periods))[is_usual])
        lengths.append(periods)
        changes.append(np.abs(20 * np.diff(np.log10(np.maximum(_peaks(samples, stretch), 1e-9))))[is_usual])
    if not steps or not np.concatenate(steps).size:
        return float("nan"), float("nan")
    jitter = np.concatenate(steps).mean() / np.concatenate(lengths).mean()
    return float(jitter), float(np.concatenate(changes).mean())


def _peaks(samples: NDArray[np.float64], marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the lowest to the highest sample of each period, both marks included."""
    at = marks.astype(np.int64)
    part, begins, next_one = samples[: at[-1]], at[:-1], samples[at[1:]]
    highest = np.maximum(np.maximum.reduceat(part, begins), next_one)
    return highest - np.minimum(np.minimum.reduceat(part, begins), next_one)


def _chain(
    samples: NDArray[np.float64],
    start: int,
    stop: int,
    times: NDArray[np.float64],
    periods: NDArray[np.float64],
) -> list[float]:
    """Marks from the first strong peak of a stretch to its end."""
    first = round(float(np.interp(start, times, periods)))
    part = samples[start : start + first]
    sign = 1.0 if samples[start:stop].max() >= -samples[start:stop].min() else -1.0
    marks = [float(start + (sign * part).argmax())]
    while True:
        period = float(np.interp(marks[-1], times, periods))
        mark = _next(samples, marks[-1], period)
        if mark is None or mark >= stop:
            return marks
        marks.append(mark)


def _next(samples: NDArray[np.float64], mark: float, period: float) -> float | None:
    """The time about one period on around which the waveform looks as it does around `mark`."""
    half, reach = round(period / 2), max(1, round(SEARCH * period))
    centre = round(mark)
    begin = centre + round(period) - reach - half
    if centre - half < 0 or begin + 2 * (reach + half) + 1 > len(samples):
        return None
    pattern = samples[centre - half : centre + half + 1]
    region = samples[begin : begin + 2 * (reach + half) + 1]
    energies = np.correlate(region * region, np.ones(len(pattern)))
    norms = np.sqrt(energies * (pattern @ pattern))
    likeness = np.correlate(region, pattern) / np.maximum(norms, 1e-12)
    best = int(likeness.argmax())
    shift = 0.0
    if 0 < best < len(likeness) - 1:
        before, here, after = likeness[best - 1 : best + 2].tolist()
        bend = before - 2 * here + after
        shift = min(max((before - after) / (2 * bend), -0.5), 0.5) if bend < 0 else 0.0
    # The pattern sits at the whole sample next to the mark, so what is found is its distance from there.
    return mark + (round(period) - reach + best + shift)
