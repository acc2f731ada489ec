"""One episode after another, by a process that has loaded its models once: `Worker`.

An episode's files are written whole or not at all, and its JSON last: an episode whose JSON carries the key
of its content, the model and the options is done. Nothing in the files depends on when, where, by how many
processes or beside which others an episode was scored, so that a run which was killed ends with the same
bytes. Two runs in one folder write the same bytes twice.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from multimodal_ser import audio
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.cache import hash_options, hash_unchanged
from multimodal_ser.errors import InputError
from multimodal_ser.labels import UNIT, Scale
from multimodal_ser.podcast import timeline as timelines
from multimodal_ser.podcast.cascade import Draft
from multimodal_ser.podcast.engine import Engine, EngineOptions, MakeTranscriber
from multimodal_ser.podcast.jobs import Job, reason_of, told_apart
from multimodal_ser.podcast.pages import write_page
from multimodal_ser.podcast.summaries import in_scale
from multimodal_ser.podcast.timeline import SCHEMA_VERSION, Timeline
from multimodal_ser.podcast.writers import WRITERS


@dataclass(frozen=True)
class ScoreOptions:
    """How many episodes are scored and written."""

    model: str | os.PathLike
    output: Path
    engine: EngineOptions = field(default_factory=EngineOptions)
    formats: tuple[str, ...] = ("csv", "vtt", "textgrid", "report", "json")
    scale: Scale = UNIT
    device: str = "auto"
    jobs: int = 1
    make_transcriber: MakeTranscriber | None = None
    cache: Path | None = None  # of recognised words
    backend: str = REFERENCE
    embed_audio: bool = False  # pages hold the recordings
    draft: Draft | None = None  # a small model that scores what it is sure of


@dataclass(frozen=True)
class Outcome:
    """What became of one episode: `error` is None if its files are there."""

    job: Job
    error: str | None = None
    was_there: bool = False


class Worker:
    """A process with its models."""

    def __init__(self, options: ScoreOptions, threads: int = 1) -> None:
        self.options = options
        self.engine = Engine(
            options.model,
            options.engine,
            device=options.device,
            threads=threads,
            make_transcriber=options.make_transcriber,
            cache=options.cache,
            backend=options.backend,
            draft=options.draft,
        )
        self.identity = {
            "engine": self.engine.identity,
            "formats": list(options.formats),
            "scale": str(options.scale),
            "schema_version": SCHEMA_VERSION,
        }
        if options.embed_audio:  # no part of keys without it, so that what is there stays valid
            self.identity["embed_audio"] = True

    def own_name(self, job: Job) -> Job:
        """The job under a name that no other recording's result has in this folder."""
        path = self.options.output / (job.name + timelines.SUFFIX)
        try:
            found = timelines.read(path).audio
            is_other = found["path"] != self._relative(job.media) and found["hash"] != hash_unchanged(
                job.media
            )
        except (InputError, OSError, KeyError):
            return job
        return replace(job, name=told_apart(job)) if is_other else job

    def do(self, job: Job) -> Outcome:
        """Score one episode and write its files, unless they are there; what fails is an outcome too."""
        try:
            audio.probe(job.media)  # says best what is wrong with a file that cannot be opened
            key = self._key(job)
            if self._is_done(job, key):
                return Outcome(job, was_there=True)
            self._write(job, self._finished(job, self.engine.score(job), key))
            return Outcome(job)
        except Exception as error:  # whatever one episode brings about: the others are scored
            return Outcome(job, reason_of(error))

    def _key(self, job: Job) -> str:
        files = [job.media, job.transcript, job.speakers]
        content = [None if path is None else [path.name, hash_unchanged(path)] for path in files]
        return hash_options(content=content, path=self._relative(job.media), **self.identity)

    def _is_done(self, job: Job, key: str) -> bool:
        paths = [self.options.output / (job.name + WRITERS[name][0]) for name in self.options.formats]
        if not all(path.is_file() for path in paths):
            return False
        try:
            return timelines.read(self.options.output / (job.name + timelines.SUFFIX)).key == key
        except InputError:
            return False

    def _finished(self, job: Job, timeline: Timeline, key: str) -> Timeline:
        """With what only the run knows, and in the scale that is wanted."""
        recording = {**timeline.audio, "path": self._relative(job.media), "hash": hash_unchanged(job.media)}
        if (scale := self.options.scale) != UNIT:
            timeline = replace(timeline.to_scale(scale), summary=in_scale(timeline.summary, scale))
        return replace(timeline, audio=recording, key=key)

    def _write(self, job: Job, timeline: Timeline) -> None:
        for name in self.options.formats:  # in the order of WRITERS, JSON last
            ending, write = WRITERS[name]
            path = self.options.output / (job.name + ending)
            if name == "report" and self.options.embed_audio:
                write_page(path, timeline, job.media)
            else:
                write(path, timeline)

    def _relative(self, media: Path) -> str:
        return Path(os.path.relpath(media, self.options.output)).as_posix()
