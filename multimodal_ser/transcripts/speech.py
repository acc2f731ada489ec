"""Where somebody speaks: spans in seconds, found in a stream of blocks with memory that does not grow.

A detector gives each frame of 32 ms (512 samples at 16 kHz) a score, 0..1; `SpanTracker` makes spans of the
scores. Two detectors: the Silero network if it is installed (extra [vad], see `silero.py`), else the level in
the speech band above the noise floor. The level knows speech from silence and steady noise, not from music;
Silero knows it from most music. What passes both is left to the trust gate (`trust.py`). Neither result
depends on how the stream is cut into blocks.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest

FRAME = 512  # samples
FRAME_SECONDS = FRAME / SAMPLE_RATE

SPEECH_BAND = (150.0, 4000.0)  # Hz; below lie hum and rumble, above hiss
FLOOR_CHUNK = 312  # frames, about 10 s, that are scored together
FLOOR_CHUNKS = 3  # of which the noise floor is the lower edge
FLOOR_PERCENTILE = 10.0
ABOVE_FLOOR = 12.0  # dB: level of an even chance, where there is silence to compare with
LOUD_PERCENTILE = 90.0
LEAST_RANGE = 8.0  # dB from floor to loud, above which talk without a pause may be: steady noise has 1 to 5
QUIETEST_SPEECH = -58.0  # dBFS in the band: whispering at the far side of a room
SLOPE = 3.0  # dB from a score of 0.5 to one of 0.73
SILENCE_POWER = 1e-12  # full scale is 1: keeps digital silence finite

CUT_SHARE = 0.4  # of a span that is too long, at its end, in which the quietest frame is looked for

Block = NDArray[np.float32]


class Span(NamedTuple):
    """A stretch of speech, seconds."""

    start: float
    end: float


class Detector(Protocol):
    """What scores frames; `identity` names it, with its version, in results and caches."""

    identity: str

    def scores(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Scores of consecutive frames, in arrays of any length; the last frame may be partly padding."""


@dataclass(frozen=True)
class SpeechOptions:
    """How scores become spans. The thresholds are those of Silero; times are seconds."""

    enter: float = 0.5  # a span begins with a frame of this score
    leave: float = 0.35  # and goes on while the score is at least this
    shortest: float = 0.25  # a span of less is a click or a cough
    pause: float = 0.3  # a shorter one does not end a span
    margin: float = 0.1  # added on both sides: soft onsets and endings score low
    longest: float = 28.0  # cut at its quietest late frame if longer, to fit a recogniser's window of 30 s


class SpanTracker:
    """Spans from scores as they come."""

    def __init__(self, options: SpeechOptions | None = None, cut_share: float = CUT_SHARE) -> None:
        self.options = options or SpeechOptions()
        self.cut_share = cut_share
        self._frame = 0  # number of the next frame
        self._first: int | None = None  # of the open span
        self._last = 0  # one behind the last frame of speech in it
        self._scores: list[float] = []  # of the frames since `_first`
        self._is_cut = False  # the open span continues one that was too long

    @property
    def earliest(self) -> float:
        """Seconds before which no further span can begin."""
        frame = self._frame if self._first is None else self._first
        return max(0.0, frame * FRAME_SECONDS - self.options.margin)

    @property
    def now(self) -> float:
        """Seconds that have been looked at."""
        return self._frame * FRAME_SECONDS

    @property
    def opened(self) -> float | None:
        """Where the span begins that has not ended yet."""
        return None if self._first is None else self.earliest

    def push(self, scores: Iterable[float]) -> list[Span]:
        """The spans that end within these frames."""
        found = []
        for score in scores:
            if self._first is None and score >= self.options.enter:
                self._first, self._last, self._scores = self._frame, self._frame, []
            self._frame += 1
            if self._first is not None and (span := self._step(float(score))) is not None:
                found.append(span)
        return found

    def finish(self, seconds: float) -> list[Span]:
        """The span that the end of the recording, at `seconds`, ends."""
        span = None if self._first is None else self._closed(self._last, is_cut=False)
        if span is None or span.start >= seconds:
            return []
        return [Span(span.start, min(span.end, seconds))]

    def _step(self, score: float) -> Span | None:
        self._scores.append(score)
        if score >= self.options.leave:
            self._last = self._frame
        elif (self._frame - self._last) * FRAME_SECONDS >= self.options.pause:
            return self._closed(self._last, is_cut=False)
        if (self._frame - self._first) * FRAME_SECONDS < self.options.longest - 2 * self.options.margin:
            return None
        late = len(self._scores) - max(1, int(self.cut_share * len(self._scores)))
        cut = self._first + late + int(np.argmin(self._scores[late:]))
        rest, last = self._scores[cut - self._first :], self._last
        span = self._closed(cut, is_cut=True)
        self._first, self._last, self._scores, self._is_cut = cut, max(last, cut), rest, True
        return span

    def _closed(self, last: int, is_cut: bool) -> Span | None:
        """End the open span behind frame `last`; margins only where there was silence."""
        start, end = self._first * FRAME_SECONDS, last * FRAME_SECONDS
        is_long_enough = end - start >= self.options.shortest or is_cut or self._is_cut
        start -= 0.0 if self._is_cut else self.options.margin
        end += 0.0 if is_cut else self.options.margin
        self._first, self._is_cut = None, False
        return Span(max(0.0, start), end) if is_long_enough and last > 0 else None


def speech_spans(
    blocks: Iterable[Block], detector: Detector, options: SpeechOptions | None = None
) -> Iterator[Span]:
    """Spans of speech in order, each as soon as it has ended."""
    tracker = SpanTracker(options)
    samples = 0

    def counted() -> Iterator[Block]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    for scores in detector.scores(counted()):
        yield from tracker.push(scores)
    yield from tracker.finish(samples / SAMPLE_RATE)


def speech_share(start: float, end: float, spans: Iterable[Span]) -> float:
    """How much of the time from `start` to `end` lies in spans, which do not overlap; 0..1."""
    covered = sum(max(0.0, min(end, span.end) - max(start, span.start)) for span in spans)
    return min(1.0, covered / (end - start)) if end > start else 0.0


class EnergyDetector:
    """The level in the speech band against a noise floor that follows the recording."""

    def __init__(self, at_once: int = FLOOR_CHUNK) -> None:
        self.at_once = at_once  # fewer: a frame is compared with less of what follows
        self.identity = "energy-1" if at_once == FLOOR_CHUNK else f"energy-1 by {at_once}"

    def scores(self, blocks: Iterable[Block]) -> Iterator[Block]:
        recent: deque[NDArray] = deque(maxlen=FLOOR_CHUNKS * FLOOR_CHUNK // self.at_once)
        for frames in framed(blocks, self.at_once):
            levels = _levels(frames)
            recent.append(levels)
            floor, loud = np.percentile(np.concatenate(recent), [FLOOR_PERCENTILE, LOUD_PERCENTILE])
            # Where nobody pauses the floor is speech itself: its quieter half lies below the middle.
            step = min(ABOVE_FLOOR, (loud - floor) / 2) if loud - floor > LEAST_RANGE else ABOVE_FLOOR
            middle = max(floor + step, QUIETEST_SPEECH)
            yield 1 / (1 + np.exp((middle - levels) / SLOPE))


class EverythingDetector:
    """Takes every frame for speech, for recordings that are known to hold nothing else."""

    identity = "none"

    def __init__(self, at_once: int = FLOOR_CHUNK) -> None:
        self.at_once = at_once

    def scores(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for frames in framed(blocks, self.at_once):
            yield np.ones(len(frames), np.float32)


def detector_named(name: str = "auto", at_once: int | None = None) -> Detector:
    """`silero`, `energy`, `none` (all is speech), or `auto`: Silero if it is installed, else energy.

    at_once: frames that are scored together; less than usual for what is listened to while it goes on.
    """
    from multimodal_ser.transcripts import silero

    makers = {"silero": silero.SileroDetector, "energy": EnergyDetector, "none": EverythingDetector}
    if name == "auto":
        name = "silero" if silero.is_installed() else "energy"
    if name not in makers:
        known = ("auto", *makers)
        raise InputError(
            f"unknown speech detector '{name}'{nearest(name, known)}; allowed: {', '.join(known)}"
        )
    return makers[name]() if at_once is None else makers[name](at_once)


def framed(blocks: Iterable[Block], at_once: int) -> Iterator[Block]:
    """Frames (n, FRAME), `at_once` together, the last of all padded with zeros."""
    held: list[Block] = []
    count, size = 0, at_once * FRAME
    for block in blocks:
        while count + len(block) >= size:
            head, block = block[: size - count], block[size - count :]
            yield np.concatenate([*held, head]).reshape(-1, FRAME)
            held, count = [], 0
        if len(block):
            held.append(block)
            count += len(block)
    if count:
        rest = np.concatenate(held)
        yield np.pad(rest, (0, -len(rest) % FRAME)).reshape(-1, FRAME)


def _levels(frames: Block) -> NDArray:
    """Level of each frame in the speech band, dB relative to a full-scale square wave."""
    window = np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    frequencies = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE)
    in_band = (frequencies >= SPEECH_BAND[0]) & (frequencies <= SPEECH_BAND[1])
    # Parseval: twice the sum over positive frequencies is the sum of squares of the windowed frame.
    mean_square = 2 * power[:, in_band].sum(1) / FRAME / np.square(window).sum()
    return 10 * np.log10(mean_square + SILENCE_POWER)
