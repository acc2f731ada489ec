"""One episode through the models: `Engine.score` gives a `Timeline`.

A recording is decoded twice, which costs four seconds an hour: once to hear where somebody speaks (and
what, if there is no transcript), once to be scored, and each time as a stream, so that memory does not grow
with its length.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from multimodal_ser import audio
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.errors import InputError
from multimodal_ser.labels import UNIT
from multimodal_ser.podcast.cascade import Cascade, Draft
from multimodal_ser.podcast.decoding import BLOCK_SECONDS, Counter, ahead, cuts
from multimodal_ser.podcast.jobs import Job
from multimodal_ser.podcast.rating import Judged, Rater, Sound
from multimodal_ser.podcast.segments import SegmentPolicy, segments_of, speech_cues
from multimodal_ser.podcast.summaries import summarise
from multimodal_ser.podcast.timeline import NO_WORDS, UNTRUSTED, Timeline
from multimodal_ser.transcripts.aligning import aligned
from multimodal_ser.transcripts.asr import SOURCE_PREFIX, Transcriber
from multimodal_ser.transcripts.cues import Cue, Transcript, words_of
from multimodal_ser.transcripts.listening import Cut, Listener, language_of
from multimodal_ser.transcripts.reading import read_speakers, read_transcript
from multimodal_ser.transcripts.speakers import attach_speakers
from multimodal_ser.transcripts.speech import Span, SpeechOptions, detector_named, speech_share, speech_spans
from multimodal_ser.transcripts.trust import TrustConfig, judge

MakeTranscriber = Callable[..., Transcriber]  # takes threads=; a process gets it pickled


@dataclass(frozen=True)
class EngineOptions:
    """What a result depends on beside the model and the files."""

    policy: SegmentPolicy = field(default_factory=SegmentPolicy)
    detector: str = "auto"
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    trust: TrustConfig = field(default_factory=TrustConfig)
    keep_untrusted: bool = False  # read the words in spite of the gate's verdict; the flags still say it
    align: bool = False  # give plain text the times of the words that the recogniser hears

    def in_key(self) -> dict[str, Any]:
        return asdict(self)


def judged(
    segment: Cue, source: str, language: str | None, share: float | None, options: EngineOptions
) -> Judged:
    """The segment, the source of its words as far as they are used, and why they are not."""
    if not segment.text:
        return segment, NO_WORDS, ()
    verdict = judge(segment, speech_share=share, language=language, config=options.trust)
    is_used = verdict.trusted or options.keep_untrusted
    return segment, source if is_used else UNTRUSTED, verdict.flags


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
        draft: Draft | None = None,
    ) -> None:
        self.options = options or EngineOptions()
        self.rater: Rater | Cascade = Rater(model, device=device, threads=threads, backend=backend)
        if draft is not None:
            small = Rater(draft.model, device=device, threads=threads)
            self.rater = Cascade(self.rater, small, draft)
        self.detector = detector_named(self.options.detector)
        self.listener = None
        if make_transcriber is not None:
            transcriber = make_transcriber(threads=self.rater.threads)
            self.listener = Listener(transcriber, self.detector, self.options.speech, cache)

    @property
    def identity(self) -> dict[str, Any]:
        """What results depend on, beside the files of an episode."""
        asr = self.listener.transcriber if self.listener is not None else None
        return {
            **self.rater.identity,
            "options": self.options.in_key(),
            "detector": self.detector.identity,
            "asr": None if asr is None else {"recogniser": asr.identity, "options": asr.options.in_key()},
        }

    @property
    def helpers(self) -> list[str]:
        """What else hears: the speech detector, and the recogniser if there is one."""
        asr = [] if self.listener is None else [self.listener.transcriber.name]
        return [self.detector.identity, *asr]

    def score(self, job: Job) -> Timeline:
        """The timeline of one episode, in unit scale."""
        heard = self._heard(job)
        segments = segments_of(heard.cues, heard.speech, heard.seconds, self.options.policy)
        parts = [self._judged(segment, heard) for segment in segments]
        if self.rater.wants_sound:
            sounds: Iterable[Sound | None] = cuts(job.media, [(cue.start, cue.end) for cue, *_ in parts])
        else:
            sounds = [None] * len(parts)
        scored = tuple(self.rater.rated(parts, sounds))
        return Timeline(
            scored,
            heard.seconds,
            UNIT,
            heard.language,
            {"file": job.media.name},
            self.rater.about(),
            heard.about,
            {**self.options.policy.described(), "speech_detector": self.detector.identity},
            summarise(scored, heard.seconds),
        )

    def _heard(self, job: Job) -> "_Heard":
        """Where somebody speaks, what, and who."""
        seconds = Counter()
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
            blocks = seconds.passing(ahead(audio.stream(job.media, BLOCK_SECONDS)))
            spans = list(speech_spans(blocks, self.detector, self.options.speech))
            if job.transcript is not None:
                transcript = self._timed(read_transcript(job.transcript, seconds.total), job, seconds.total)
        return self._with_speakers(job, _Heard.of(transcript, spans, seconds.total))

    def _timed(self, transcript: Transcript, job: Job, seconds: float) -> Transcript:
        """With times for its words, if it has none and they are wanted."""
        if transcript.timed:
            return transcript
        if not self.options.align or self.listener is None:
            raise InputError(
                f"{transcript.path}: plain text without times; let a recogniser find when its words are said "
                "(--asr whisper --align) or what is said (--asr whisper --transcript none), or give a "
                "transcript with times"
            )
        passages = self.listener.listen(Cut(job.media))
        heard = [word for passage in passages for cue in passage.cues for word in words_of(cue)]
        source = f"{transcript.source}, times of {SOURCE_PREFIX}{self.listener.transcriber.name}"
        found = aligned(transcript, sorted(heard, key=lambda word: word.start), seconds)
        return replace(found, source=source, language=language_of(passages))

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

    def _judged(self, segment: Cue, heard: "_Heard") -> Judged:
        share = speech_share(segment.start, segment.end, heard.near(segment))
        return judged(segment, heard.source, heard.language, share, self.options)


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
        about = {
            "source": transcript.source,
            "file": transcript.path.name if transcript.path is not None else None,
            "problems": transcript.summary(),
        }
        return cls(transcript.cues, spans, seconds, transcript.source, transcript.language, about, speech)

    def near(self, segment: Cue) -> list[Span]:
        return [span for span in self.spans if span.end > segment.start and span.start < segment.end]
