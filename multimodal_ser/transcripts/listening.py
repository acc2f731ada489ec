"""From sound to passages of recognised speech: speech detection, windows, recognition, and its cache.

Recordings are read as streams: what is held is one batch of windows of at most 30 s and the block at hand,
whatever the length. A window holds whole spans of speech, is cut in pauses, and leaves out silence and music
longer than `LONGEST_GAP`.

Results are kept by the content of the sound file, start and end of the cut, engine, weights, precision,
options, speech detector and its options: where the file lies, and what it is called, does not matter. Times
are seconds from the start of the recording.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE, AudioError, stream
from multimodal_ser.cache import cache_folder, hash_options, hash_unchanged, write_text
from multimodal_ser.transcripts.asr import BATCH, WINDOW_SECONDS, Heard, Transcriber
from multimodal_ser.transcripts.cues import Cue, Word
from multimodal_ser.transcripts.speech import Block, Detector, Span, SpanTracker, SpeechOptions

LONGEST_GAP = 2.0  # seconds without speech inside a window
FORMAT = 1  # of cached results; another one is not read


class Cut(NamedTuple):
    """A stretch of a sound file; None = its beginning, its end."""

    path: Path
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Window:
    """Sound for one pass of a recogniser."""

    start: float  # seconds
    waveform: NDArray[np.float32]
    spans: tuple[Span, ...]  # of speech in it


@dataclass(frozen=True)
class Passage:
    """What was heard in one window; `cues` is empty where the recogniser found no words in speech."""

    start: float
    end: float
    spans: tuple[Span, ...]
    cues: tuple[Cue, ...]
    language: str | None = None
    temperature: float = 0.0


@dataclass(frozen=True)
class Listener:
    """A recogniser behind a speech detector, and the folder of its results; None = they are not kept."""

    transcriber: Transcriber
    detector: Detector
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    cache: Path | None = None

    def stream(self, blocks: Iterable[Block], start: float = 0.0) -> Iterator[Passage]:
        """The passages of a recording whose first sample lies at `start` seconds, a batch at a time."""
        windows = speech_windows(blocks, self.detector, self.speech)
        while batch := list(islice(windows, self.transcriber.options.batch_size or BATCH)):
            heard = self.transcriber.transcribe([window.waveform for window in batch])
            for window, what in zip(batch, heard, strict=True):
                yield _passage(window, what, start)

    def listen(self, cut: Cut) -> list[Passage]:
        """The passages of one cut, found again if they are known."""
        result = self.listen_to([cut])[0]
        if isinstance(result, AudioError):
            raise result
        return result

    def listen_to(self, cuts: Sequence[Cut]) -> list[list[Passage] | AudioError]:
        """The passages of several cuts, whose windows share batches; an error stands for its cut.

        If only some are known, all are heard again: the same cuts give the same batches, so that a run which
        was interrupted ends like one which was not.
        """
        keys = [self._key(cut) for cut in cuts]
        known = [self._found(key) for key in keys]
        if all(passages is not None for passages in known):
            return known
        results: list[list[Passage] | AudioError] = [[] for _ in cuts]
        windows = self._windows_of(cuts, results)
        while batch := list(islice(windows, self.transcriber.options.batch_size or BATCH)):
            heard = self.transcriber.transcribe([window.waveform for _, window in batch])
            for (index, window), what in zip(batch, heard, strict=True):
                if isinstance(passages := results[index], list):
                    passages.append(_passage(window, what, cuts[index].start or 0.0))
        for key, result in zip(keys, results, strict=True):
            self._keep(key, result)
        return results

    def _windows_of(self, cuts: Sequence[Cut], results: list) -> Iterator[tuple[int, Window]]:
        for index, cut in enumerate(cuts):
            try:
                blocks = stream(cut.path, start=cut.start, end=cut.end)
                for window in speech_windows(blocks, self.detector, self.speech):
                    yield index, window
            except AudioError as error:
                results[index] = error

    def _key(self, cut: Cut) -> str | None:
        if self.cache is None:
            return None
        try:
            content = hash_unchanged(cut.path)
        except OSError:  # `stream` will say what is wrong with the file
            return None
        return hash_options(
            format=FORMAT,
            audio=content,
            start=cut.start or 0.0,
            end=cut.end,
            recogniser=self.transcriber.identity,
            options=self.transcriber.options.in_key(),
            detector=self.detector.identity,
            speech=asdict(self.speech),
        )

    def _path(self, key: str) -> Path:
        return self.cache / key[:2] / f"{key}.json"

    def _found(self, key: str | None) -> list[Passage] | None:
        if key is None:
            return None
        try:
            return [_parsed(record) for record in json.loads(self._path(key).read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError, KeyError):  # not there, or damaged: heard again
            return None

    def _keep(self, key: str | None, result: list[Passage] | AudioError) -> None:
        if key is not None and isinstance(result, list):
            records = [asdict(passage) for passage in result]
            write_text(self._path(key), json.dumps(records, ensure_ascii=False, allow_nan=False) + "\n")


def default_cache() -> Path:
    """Where results are kept unless the caller says otherwise."""
    return cache_folder() / "transcripts"


def language_of(passages: Sequence[Passage]) -> str | None:
    """That of most of the time."""
    seconds: Counter[str] = Counter()
    for passage in passages:
        if passage.language is not None:
            seconds[passage.language] += passage.end - passage.start
    return seconds.most_common(1)[0][0] if seconds else None


def speech_windows(
    blocks: Iterable[Block], detector: Detector, options: SpeechOptions | None = None
) -> Iterator[Window]:
    """Windows of at most 30 s around the speech in a stream, in order."""
    tracker, sound = SpanTracker(options), _Sound()
    pending: list[Span] = []
    for scores in detector.scores(sound.passing(blocks)):
        for span in tracker.push(scores):
            if pending and not _fits(pending, span):
                yield sound.cut(pending)
                pending = []
            pending.append(span)
        if pending and tracker.earliest - pending[-1].end > LONGEST_GAP:
            yield sound.cut(pending)
            pending = []
        sound.forget(pending[0].start if pending else tracker.earliest)
    for span in tracker.finish(sound.seconds):
        if pending and not _fits(pending, span):
            yield sound.cut(pending)
            pending = []
        pending.append(span)
    if pending:
        yield sound.cut(pending)


def _fits(pending: Sequence[Span], span: Span) -> bool:
    is_near = span.start - pending[-1].end <= LONGEST_GAP
    return is_near and span.end - pending[0].start <= WINDOW_SECONDS - 1 / SAMPLE_RATE


class _Sound:
    """The latest part of a stream."""

    def __init__(self) -> None:
        self._held = np.zeros(0, np.float32)
        self._first = 0  # sample number of `_held[0]`

    @property
    def seconds(self) -> float:
        return (self._first + len(self._held)) / SAMPLE_RATE

    def passing(self, blocks: Iterable[Block]) -> Iterator[Block]:
        for block in blocks:
            self._held = np.concatenate([self._held, block])
            yield block

    def cut(self, spans: Sequence[Span]) -> Window:
        first, last = (round(time * SAMPLE_RATE) for time in (spans[0].start, spans[-1].end))
        waveform = self._held[first - self._first : last - self._first].copy()
        return Window(first / SAMPLE_RATE, waveform, tuple(spans))

    def forget(self, before: float) -> None:
        count = round(before * SAMPLE_RATE) - self._first
        if count > 0:
            self._held, self._first = self._held[count:].copy(), self._first + count


def _passage(window: Window, heard: Heard, start: float) -> Passage:
    """The result of a window, its times counted from the start of the recording."""
    offset = start + window.start
    end = offset + len(window.waveform) / SAMPLE_RATE
    spans = tuple(Span(_time(span.start + start), _time(span.end + start)) for span in window.spans)
    cues = tuple(_shifted(cue, offset) for cue in heard.cues)
    return Passage(_time(offset), _time(end), spans, cues, heard.language, heard.temperature)


def _shifted(cue: Cue, by: float) -> Cue:
    words = tuple(replace(word, start=_later(word.start, by), end=_later(word.end, by)) for word in cue.words)
    return replace(cue, start=_later(cue.start, by), end=_later(cue.end, by), words=words)


def _later(time: float | None, by: float) -> float | None:
    return None if time is None else _time(float(time) + by)


def _time(seconds: float) -> float:
    return round(seconds, 3)


def _parsed(record: dict) -> Passage:
    cues = tuple(
        Cue(**{**cue, "words": tuple(Word(**word) for word in cue["words"])}) for cue in record["cues"]
    )
    spans = tuple(Span(*span) for span in record["spans"])
    return Passage(**{**record, "cues": cues, "spans": spans})
