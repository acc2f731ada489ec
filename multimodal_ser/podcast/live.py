"""`score --live`: sound from a pipe, scored while it goes on; a line for each segment when it has ended.

Which segments there are, `live_segments` says.
"""

import contextlib
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr
import torch

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.audio_store import FULL_SCALE
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.errors import InputError
from multimodal_ser.labels import UNIT, Scale
from multimodal_ser.podcast.decoding import ahead
from multimodal_ser.podcast.engine import EngineOptions, judged
from multimodal_ser.podcast.live_segments import BLOCKS_SECONDS, LATEST, PAUSE_SECONDS, Limits, LiveSegmenter
from multimodal_ser.podcast.rating import Judged, Rater, Sound
from multimodal_ser.podcast.segments import window_of
from multimodal_ser.podcast.timeline import NO_WORDS, SCHEMA_VERSION, Scored, segment_as_json
from multimodal_ser.transcripts.cues import Cue, words_of
from multimodal_ser.transcripts.reading import read_transcript
from multimodal_ser.transcripts.speech import Span, detector_named, speech_share

SCHEMA = "multimodal_ser.live"
FRAMES_AT_ONCE = 4  # of speech detection: an eighth of a second
BLOCK_SECONDS = 0.05  # read at once, if so much is there
TIMED_SECONDS = 4.0  # of sound, with which a model is timed
RATES = (4_000, 192_000)  # Hz
_BYTES = 2  # of a sample


class LiveScorer:
    """A model that listens."""

    def __init__(
        self,
        model: str | os.PathLike,
        options: EngineOptions | None = None,
        *,
        device: str = "auto",
        backend: str = REFERENCE,
        transcript: Path | None = None,
        scale: Scale = UNIT,
        longest: float | None = None,
    ) -> None:
        """longest: seconds of a segment, however late its line comes then; else what is told in time."""
        self.options = options or EngineOptions()
        if self.options.policy.window is not None:
            raise InputError(
                "--window needs a recording; --live scores what somebody says between two pauses"
            )
        self._threads = torch.get_num_threads()
        self.rater = Rater(model, device=device, backend=backend)
        if not self.rater.wants_sound and transcript is None:
            raise InputError(f"{model}: a model of words alone; give it words with --live-transcript")
        self.words = None if transcript is None else Words(transcript)
        self.detector = detector_named(self.options.detector, FRAMES_AT_ONCE)
        self.scale = scale
        self.cost = self._timed()
        policy = self.options.policy
        self.limits = Limits.of(policy.longest, self.cost) if longest is None else Limits(longest)
        self.policy = replace(policy, longest=self.limits.longest)

    @property
    def said(self) -> str:
        """What a user should know before it listens."""
        late = self.cost * self.policy.longest + max(PAUSE_SECONDS, BLOCKS_SECONDS + self.limits.cut) > LATEST
        if self.policy.longest >= self.options.policy.longest and not late:
            return ""
        told = f"some are told more than {LATEST:g} s later" if late else f"to be told within {LATEST:g} s"
        return (
            f"this model needs {self.cost:.2g} s for a second of sound here: segments are cut at "
            f"{self.policy.longest:g} s, {told}; --live-longest SECONDS chooses another length"
        )

    def _timed(self) -> float:
        """Seconds for a second of sound. The first calls are slow, so that they are made here."""
        sound = (
            np.random.default_rng(0).normal(0, 0.05, round(TIMED_SECONDS * SAMPLE_RATE)).astype(np.float32)
        )
        took = []
        for _ in range(3):
            started = time.perf_counter()
            self._rated((Cue(0.0, TIMED_SECONDS, ""), NO_WORDS, ()), sound)
            took.append(time.perf_counter() - started)
        return max(took[1:]) / TIMED_SECONDS

    def lines(self, blocks: Iterable[Sound]) -> Iterator[dict[str, Any]]:
        """What is said of each segment of the sound, (S,) at 16 kHz in blocks of any length."""
        heard = _Recent()
        segmenter = LiveSegmenter(self.policy, self.options.speech, self.limits.cut)
        number = 0

        def ready(spans: Iterable[Span]) -> Iterator[dict[str, Any]]:
            nonlocal number
            for span in spans:
                yield self._line(number, span, heard, segmenter.spoken)
                number += 1

        for scores in self.detector.scores(heard.passing(blocks)):
            yield from ready(segmenter.push(scores))
            heard.forget(segmenter.wanted_from)
        yield from ready(segmenter.finish(heard.seconds))

    def _line(self, number: int, span: Span, heard: "_Recent", spoken: Iterable[Span]) -> dict[str, Any]:
        segment, source, language = Cue(span.start, span.end, ""), NO_WORDS, None
        if self.words is not None:
            segment, source, language = self.words.between(span.start, span.end)
        share = speech_share(span.start, span.end, spoken)
        part = judged(segment, source, language, share, self.options)
        scored = self._rated(part, heard.between(span.start, span.end))
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "model": self.rater.predictor.name,
            "scale": str(self.scale),
            **segment_as_json(number, scored if self.scale == UNIT else scored.to_scale(UNIT, self.scale)),
            "heard": round(heard.seconds, 3),  # seconds of sound that had come when this was said
        }

    def _rated(self, part: Judged, sound: Sound) -> Scored:
        """One segment, as fast as it goes: by all threads that there were before the model was loaded."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        (scored,) = self.rater.rated([part], [sound if self.rater.wants_sound else None])
        torch.set_num_threads(threads)
        return scored


class Words:
    """The words of a transcript by their time, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, int] | None = None
        self._read()

    def between(self, start: float, end: float) -> tuple[Cue, str, str | None]:
        """The segment with the words whose middles lie in it, where they are from, and their language."""
        with contextlib.suppress(InputError, OSError):  # half-written; what was read before stays good
            self._read()
        inside = self._words[bisect_left(self._middles, start) : bisect_left(self._middles, end)]
        return window_of(start, end, [(text, cue) for _, text, cue in inside]), self._source, self._language

    def _read(self) -> None:
        status = self.path.stat() if self.path.exists() else None
        state = None if status is None else (status.st_size, status.st_mtime_ns)
        if state is not None and state == self._state:
            return
        found = read_transcript(self.path)
        if not found.timed:
            raise InputError(f"{self.path}: plain text without times; --live looks words up by their time")
        words = [((w.start + w.end) / 2, w.text, cue) for cue in found.cues for w in words_of(cue)]
        self._words = sorted(words, key=lambda word: word[0])
        self._middles = [middle for middle, *_ in self._words]
        self._source, self._language, self._state = found.source, found.language, state


class _Recent:
    """The sound that is still wanted."""

    def __init__(self) -> None:
        self._sound = np.zeros(0, np.float32)
        self._first = 0  # sample that `_sound` begins with

    @property
    def seconds(self) -> float:
        return (self._first + len(self._sound)) / SAMPLE_RATE

    def passing(self, blocks: Iterable[Sound]) -> Iterator[Sound]:
        for block in blocks:
            self._sound = np.concatenate([self._sound, block])
            yield block

    def between(self, start: float, end: float) -> Sound:
        first = max(0, round(start * SAMPLE_RATE) - self._first)
        return self._sound[first : round(end * SAMPLE_RATE) - self._first].copy()

    def forget(self, before: float) -> None:
        drop = max(0, int(before * SAMPLE_RATE) - self._first)
        self._sound, self._first = self._sound[drop:], self._first + drop


def blocks_of(stream: BinaryIO, rate: int) -> Iterator[Sound]:
    """Signed 16-bit little-endian samples of one channel, as they come, at 16 kHz."""
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(f"--rate {rate}: must be {RATES[0]} to {RATES[1]} Hz")
    if stream.isatty():
        raise InputError(
            "--live reads raw sound from a pipe, such as: ffmpeg -i IN -f s16le -ac 1 -ar 16000 - | "
            "multimodal-ser score --live --model DIR"
        )
    return _converted(stream, rate)


def _converted(stream: BinaryIO, rate: int) -> Iterator[Sound]:
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    rest = b""
    while data := stream.read1(round(rate * BLOCK_SECONDS) * _BYTES):
        data = rest + data
        rest = data[len(data) - len(data) % _BYTES :]
        block = np.frombuffer(data[: len(data) - len(rest)], "<i2").astype(np.float32) / FULL_SCALE
        block = block if resampler is None else resampler.resample_chunk(block)
        if len(block):
            yield block
    if resampler is not None and len(block := resampler.resample_chunk(np.zeros(0, np.float32), last=True)):
        yield block


def read_ahead(blocks: Iterator[Sound]) -> Iterator[Sound]:
    """The same blocks, however many wait: while a segment is scored, a microphone must not."""
    return ahead(blocks, most=0)
