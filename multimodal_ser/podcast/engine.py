"""One episode through the models: `Engine.score` gives a `Timeline`.

A recording is decoded twice, which costs four seconds an hour: once to hear where somebody speaks (and
what, if there is no transcript), once to be scored, and each time as a stream, so that memory does not grow
with its length. On a CPU each segment is scored alone and unpadded by one thread, as many at once as there
are cores; so a row does not depend on its neighbours, nor on how many workers there are. On a GPU
neighbours of like length share a batch.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser import audio
from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.backends.choice import load
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.cache import hash_file
from multimodal_ser.errors import InputError
from multimodal_ser.inference import CALIBRATION, chosen_device, model_folder
from multimodal_ser.labels import DIMENSIONS, UNIT
from multimodal_ser.models.ser import SETTINGS
from multimodal_ser.podcast.segments import SegmentPolicy, segments_of, speech_cues
from multimodal_ser.podcast.summaries import summarise
from multimodal_ser.podcast.timeline import NO_WORDS, UNTRUSTED, Scored, Timeline, Values
from multimodal_ser.transcripts.asr import SOURCE_PREFIX, Transcriber
from multimodal_ser.transcripts.cues import Cue, Transcript
from multimodal_ser.transcripts.listening import Cut, Listener, language_of
from multimodal_ser.transcripts.reading import read_speakers, read_transcript
from multimodal_ser.transcripts.speakers import attach_speakers
from multimodal_ser.transcripts.speech import Span, SpeechOptions, detector_named, speech_share, speech_spans
from multimodal_ser.transcripts.trust import TrustConfig, judge

MakeTranscriber = Callable[..., Transcriber]  # takes threads=; a process gets it pickled
AHEAD = 4  # blocks that are decoded before they are wanted
BLOCK_SECONDS = 20.0
GPU_GROUP, GPU_SECONDS = 64, 240.0  # segments sorted by length together; seconds of audio in one batch


@dataclass(frozen=True)
class Job:
    """One episode to score; `name` begins the names of its files."""

    media: Path
    name: str
    transcript: Path | None = None
    speakers: Path | None = None


@dataclass(frozen=True)
class EngineOptions:
    """What a result depends on beside the model and the files."""

    policy: SegmentPolicy = field(default_factory=SegmentPolicy)
    detector: str = "auto"
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    trust: TrustConfig = field(default_factory=TrustConfig)
    keep_untrusted: bool = False  # read the words in spite of the gate's verdict; the flags still say it

    def in_key(self) -> dict[str, Any]:
        return asdict(self)


class Engine:
    """A model, loaded once, and everything else that scoring needs."""

    def __init__(
        self,
        model: str | os.PathLike,
        options: EngineOptions | None = None,
        *,
        device: str = "auto",
        threads: int = 1,
        make_transcriber: MakeTranscriber | None = None,
        cache: Path | None = None,
        backend: str = REFERENCE,
    ) -> None:
        self.options = options or EngineOptions()
        self.folder = model_folder(model)
        if chosen_device(device).type == "cpu":
            torch.set_num_threads(1)  # segments run side by side instead; runtimes take this number too
        self.predictor, self.backend = load(self.folder, backend, device)
        self.threads = max(1, threads)
        self.detector = detector_named(self.options.detector)
        self.listener = None
        if make_transcriber is not None:
            transcriber = make_transcriber(threads=self.threads)
            self.listener = Listener(transcriber, self.detector, self.options.speech, cache)

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on, beside the files of an episode."""
        calibration = self.folder / CALIBRATION
        asr = self.listener.transcriber if self.listener is not None else None
        return {
            "model": self.predictor.name,
            "backend": self.backend.backend,
            "settings": hash_file(self.folder / SETTINGS),
            "calibration": hash_file(calibration) if calibration.is_file() else None,
            "options": self.options.in_key(),
            "detector": self.detector.identity,
            "asr": None if asr is None else {"recogniser": asr.identity, "options": asr.options.in_key()},
        }

    def score(self, job: Job) -> Timeline:
        """The timeline of one episode, in unit scale."""
        heard = self._heard(job)
        segments = segments_of(heard.cues, heard.speech, heard.seconds, self.options.policy)
        judged = [self._judged(segment, heard) for segment in segments]
        scored = tuple(
            self._scored(segment, source, flags, values)
            for (segment, source, flags), values in zip(judged, self._values(job.media, judged), strict=True)
        )
        return Timeline(
            scored,
            heard.seconds,
            UNIT,
            heard.language,
            {"file": job.media.name},
            self._about_model(),
            heard.about,
            {**self.options.policy.described(), "speech_detector": self.detector.identity},
            summarise(scored, heard.seconds),
        )

    def _heard(self, job: Job) -> "_Heard":
        """Where somebody speaks, what, and who."""
        seconds = _Counter()
        transcript: Transcript | None = None
        if job.transcript is None and self.listener is not None:
            passages = self.listener.listen(Cut(job.media))
            for _ in seconds.passing(audio.stream(job.media)):
                pass
            spans = [span for passage in passages for span in passage.spans]
            cues = tuple(cue for passage in passages for cue in passage.cues)
            source = SOURCE_PREFIX + self.listener.transcriber.name
            transcript = Transcript(cues, language_of(passages), source)
        else:
            blocks = seconds.passing(_ahead(audio.stream(job.media, BLOCK_SECONDS)))
            spans = list(speech_spans(blocks, self.detector, self.options.speech))
            if job.transcript is not None:
                transcript = read_transcript(job.transcript, seconds.total)
        return self._with_speakers(job, _Heard.of(transcript, spans, seconds.total))

    def _with_speakers(self, job: Job, heard: "_Heard") -> "_Heard":
        if job.speakers is None:
            return heard
        turns, problems = read_speakers(job.speakers)
        about = {**heard.about, "speakers": job.speakers.name}
        about["problems"] = [*about["problems"], *map(str, problems)]
        if heard.cues:
            transcript = attach_speakers(Transcript(heard.cues, heard.language, heard.source), turns)
            about["problems"] += transcript.summary()
            return replace(heard, cues=transcript.cues, about=about)
        return replace(heard, speech=speech_cues(heard.spans, turns), about=about)

    def _judged(self, segment: Cue, heard: "_Heard") -> tuple[Cue, str, tuple[str, ...]]:
        """The segment, the source of its words as far as they are used, and why they are not."""
        if not segment.text:
            return segment, NO_WORDS, ()
        share = speech_share(segment.start, segment.end, heard.near(segment))
        verdict = judge(segment, speech_share=share, language=heard.language, config=self.options.trust)
        if verdict.trusted or self.options.keep_untrusted:
            return segment, heard.source, verdict.flags
        return segment, UNTRUSTED, verdict.flags

    def _values(self, media: Path, judged: Sequence[tuple]) -> Iterator[dict[str, NDArray]]:
        """Per segment the values of each reading, (3,) each."""
        texts = ["" if source in (UNTRUSTED, NO_WORDS) else cue.text for cue, source, _ in judged]
        if self.predictor.model.audio is None:
            sounds: Iterable[NDArray | None] = [None] * len(judged)
        else:
            sounds = _cuts(media, [(cue.start, cue.end) for cue, *_ in judged])
        pairs = zip(sounds, texts, strict=True)
        if self.predictor.device.type == "cpu":
            yield from self._side_by_side(pairs)
        else:
            while group := list(islice(pairs, GPU_GROUP)):
                yield from self._batched(group)

    def _side_by_side(self, pairs: Iterable[tuple]) -> Iterator[dict[str, NDArray]]:
        """Each alone, in `threads` threads, in order; a few are held at any time."""
        if self.threads == 1:
            yield from (self._run([pair])[0] for pair in pairs)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            waiting: list = []
            for pair in pairs:
                waiting.append(pool.submit(self._run, [pair]))
                if len(waiting) > 2 * self.threads:
                    yield waiting.pop(0).result()[0]
            yield from (future.result()[0] for future in waiting)

    def _batched(self, group: list[tuple]) -> list[dict[str, NDArray]]:
        order = sorted(range(len(group)), key=lambda n: 0 if group[n][0] is None else -len(group[n][0]))
        found: dict[int, dict[str, NDArray]] = {}
        while order:
            longest = 1 if group[order[0]][0] is None else len(group[order[0]][0]) / SAMPLE_RATE
            count = max(1, int(GPU_SECONDS / longest))
            chosen, order = order[:count], order[count:]
            found |= zip(chosen, self._run([group[n] for n in chosen]), strict=True)
        return [found[n] for n in range(len(group))]

    @torch.inference_mode()
    def _run(self, pairs: Sequence[tuple[NDArray | None, str]]) -> list[dict[str, NDArray]]:
        """Values of all readings for segments in one batch."""
        model, device = self.predictor.model, self.predictor.device
        waveforms = lengths = ids = mask = None
        if model.audio is not None:
            lengths = torch.tensor([len(sound) for sound, _ in pairs])
            waveforms = torch.zeros(len(pairs), int(lengths.max()))
            for row, (sound, _) in enumerate(pairs):
                waveforms[row, : len(sound)] = torch.from_numpy(sound)
            waveforms, lengths = waveforms.to(device), lengths.to(device)
        if model.text is not None:
            ids, mask = (part.to(device) for part in model.text.tokenize([text for _, text in pairs]))
        encoded = model.encode(waveforms, lengths, ids, mask)
        values = {name: model.read(encoded, name).dimensions.float().cpu().numpy() for name in model.readings}
        return [{name: rows[n] for name, rows in values.items()} for n in range(len(pairs))]

    def _scored(
        self, segment: Cue, source: str, flags: tuple[str, ...], values: dict[str, NDArray]
    ) -> Scored:
        has_words = source not in (UNTRUSTED, NO_WORDS)
        readings = self.predictor.model.readings
        used = readings[0] if has_words or "audio" not in readings else "audio"
        if not has_words and "audio" not in readings:
            values = {}  # a model of words alone has nothing to say without any
        dimensions = {}
        for column, name in enumerate(DIMENSIONS):
            known = {reading: float(rows[column]) for reading, rows in values.items()}
            fused = known.get(used)
            radius = self.predictor.radius(used, name)
            has_interval = fused is not None and np.isfinite(radius)
            dimensions[name] = Values(
                fused,
                known.get("audio"),
                known.get("text") if has_words else None,
                fused - radius if has_interval else None,
                fused + radius if has_interval else None,
            )
        start, end = round(segment.start, 3), round(segment.end, 3)
        return Scored(start, end, segment.text, segment.speaker, dimensions, source, flags)

    def _about_model(self) -> dict[str, Any]:
        calibration = self.predictor.calibration
        return {
            "name": self.folder.name if self.folder.name != "model" else self.folder.parent.name,
            "hash": self.predictor.name,
            "readings": list(self.predictor.model.readings),
            "interval_coverage": None if calibration is None else calibration["coverage"],
        }


@dataclass(frozen=True)
class _Heard:
    """What is known of a recording before it is scored."""

    cues: tuple[Cue, ...]
    spans: list[Span]
    seconds: float
    source: str
    language: str | None
    about: dict[str, Any]
    speech: list[Cue]  # the same as `spans`, without words

    @classmethod
    def of(cls, transcript: Transcript | None, spans: list[Span], seconds: float) -> "_Heard":
        speech = speech_cues(spans)
        if transcript is None:
            about = {"source": NO_WORDS, "file": None, "problems": []}
            return cls((), spans, seconds, NO_WORDS, None, about, speech)
        if not transcript.timed:
            raise InputError(
                f"{transcript.path}: plain text without times cannot be scored; let Whisper find the words "
                "(--transcript none --asr whisper), or give a transcript with times"
            )
        about = {
            "source": transcript.source,
            "file": transcript.path.name if transcript.path is not None else None,
            "problems": transcript.summary(),
        }
        return cls(transcript.cues, spans, seconds, transcript.source, transcript.language, about, speech)

    def near(self, segment: Cue) -> list[Span]:
        return [span for span in self.spans if span.end > segment.start and span.start < segment.end]


class _Counter:
    """How many seconds went through."""

    def __init__(self) -> None:
        self.samples = 0

    def passing(self, blocks: Iterable[NDArray]) -> Iterator[NDArray]:
        for block in blocks:
            self.samples += len(block)
            yield block

    @property
    def total(self) -> float:
        return self.samples / SAMPLE_RATE


def _cuts(media: Path, times: Sequence[tuple[float, float]]) -> Iterator[NDArray]:
    """The sound of each stretch, in order of start, from one decode; held is what a stretch still wants."""
    blocks = _ahead(audio.stream(media, BLOCK_SECONDS))
    held, first = np.zeros(0, np.float32), 0
    for start, end in times:
        begin, stop = round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)
        if begin > first:
            drop = min(begin - first, len(held))
            held, first = held[drop:], first + drop
        while first + len(held) < stop and (block := next(blocks, None)) is not None:
            skip = max(0, min(begin - first, len(held) + len(block))) if not len(held) else 0
            held = np.concatenate([held, block])
            held, first = held[skip:], first + skip
        yield held[begin - first : stop - first].copy()


def _ahead(blocks: Iterator[NDArray]) -> Iterator[NDArray]:
    """The same blocks, decoded by another thread while the last ones are used."""
    waiting: queue.Queue = queue.Queue(AHEAD)
    gone = threading.Event()

    def put(item: Any) -> bool:
        while not gone.is_set():
            try:
                waiting.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for block in blocks:
                if not put((block, None)):
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            block, error = waiting.get()
            if error is not None:
                raise error
            if block is None:
                return
            yield block
    finally:
        gone.set()
