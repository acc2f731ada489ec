"""`score`: many episodes, in several processes, that may be killed at any moment and go on.

An episode's files are written whole or not at all, and its JSON last: an episode whose JSON carries the key
of its content, the model and the options is done. Nothing in the files depends on when, where, by how many
processes or beside which others an episode was scored, so that a run which was killed ends with the same
bytes. Two runs in one folder write the same bytes twice. What failed is listed in `errors.csv`.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from multimodal_ser import __version__, audio
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.cache import hash_options, hash_unchanged, write_json
from multimodal_ser.csv_files import write_table
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.labels import UNIT, Scale
from multimodal_ser.podcast import timeline as timelines
from multimodal_ser.podcast.cascade import Draft
from multimodal_ser.podcast.engine import Engine, EngineOptions, MakeTranscriber
from multimodal_ser.podcast.jobs import Job, reason_of, told_apart
from multimodal_ser.podcast.pages import INDEX, PAGE_SUFFIX, index_entry, write_index, write_page
from multimodal_ser.podcast.summaries import in_scale
from multimodal_ser.podcast.timeline import SCHEMA, SCHEMA_VERSION, Timeline
from multimodal_ser.podcast.writers import (
    EPISODE_COLUMNS,
    SPEAKER_COLUMNS,
    WRITERS,
    episode_row,
    speaker_rows,
)
from multimodal_ser.workers import leave_with_parent

ERRORS = "errors.csv"


@dataclass(frozen=True)
class ScoreOptions:
    """How many episodes are scored and written."""

    model: Path
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


@dataclass(frozen=True)
class Run:
    """What `score` did."""

    output: Path
    outcomes: list[Outcome]
    suffix: str  # of the names of the run's own files, for one shard of several
    embedded: bool = False  # pages hold the recordings

    def screen(self) -> str:
        failed = sum(outcome.error is not None for outcome in self.outcomes)
        kept = sum(outcome.was_there for outcome in self.outcomes)
        done = len(self.outcomes) - failed
        said = f"{self.output}: {done} episodes scored ({kept} were there already), {failed} failed"
        if not self.embedded:
            return said
        pages = [self.output / (o.job.name + PAGE_SUFFIX) for o in self.outcomes if o.error is None]
        size = sum(page.stat().st_size for page in pages if page.is_file())
        return f"{said}; pages with their recordings: {size / 1e6:.1f} MB"

    def raise_failures(self) -> None:
        if failed := [outcome for outcome in self.outcomes if outcome.error is not None]:
            listed = self.output / _named(ERRORS, self.suffix)
            raise SomeFailed(f"{len(failed)} of {len(self.outcomes)} episodes; see {listed}")


def score(
    jobs: Sequence[Job], options: ScoreOptions, suffix: str = "", failed: Sequence[Outcome] = ()
) -> Run:
    """Score all jobs, write their files, summaries, `errors.csv` and `run.json`; `failed` did so before."""
    if unknown := [name for name in options.formats if name not in WRITERS]:
        raise InputError(f"unknown format '{unknown[0]}'; known: {', '.join(WRITERS)}")
    options = replace(options, formats=tuple(name for name in WRITERS if name in (*options.formats, "json")))
    options.output.mkdir(parents=True, exist_ok=True)
    # Here too: what is wrong is said once and at once.
    worker = Worker(options, threads=_threads(options, jobs))
    if worker.engine.rater.backend.refused:
        print(f"backend: {worker.engine.rater.backend}", file=sys.stderr)
    jobs = [worker.own_name(job) for job in jobs]
    by_size = sorted(jobs, key=lambda job: (-_size(job.media), job.name))  # the longest first
    with tqdm(total=len(jobs), desc="score", unit="episode", disable=None) as progress:
        found: dict[str, Outcome] = {}
        for outcome in _outcomes(by_size, options, worker):
            found[outcome.job.name] = outcome
            progress.update()
    run = Run(options.output, [*(found[job.name] for job in jobs), *failed], suffix, options.embed_audio)
    _write_run(run, options, worker)
    return run


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


def _threads(options: ScoreOptions, jobs: Sequence[Job]) -> int:
    """Cores of this machine that one worker may use for segments side by side."""
    return max(1, (os.cpu_count() or 1) // max(1, min(options.jobs, len(jobs)))) if options.jobs > 1 else 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _outcomes(jobs: Sequence[Job], options: ScoreOptions, worker: Worker) -> Iterator[Outcome]:
    count = min(options.jobs, len(jobs))
    if count <= 1:
        yield from (worker.do(job) for job in jobs)
        return
    missing = {job.name: job for job in jobs}
    try:
        for outcome in _in_processes(jobs, options, count):
            del missing[outcome.job.name]
            yield outcome
    except BrokenProcessPool:
        for job in missing.values():  # one of these ends its process: each by itself
            try:
                yield from _in_processes([job], options, 1)
            except BrokenProcessPool:
                yield Outcome(
                    job, "the process that scored it died, probably for want of memory; try --jobs 1"
                )


def _in_processes(jobs: Sequence[Job], options: ScoreOptions, count: int) -> Iterator[Outcome]:
    threads = max(1, (os.cpu_count() or 1) // count)
    context = get_context("spawn")  # not forked: the libraries' threads would not survive it
    with ProcessPoolExecutor(count, context, _start, (options, threads)) as workers:
        try:
            futures: list[Future] = [workers.submit(_do_in_worker, job) for job in jobs]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


_worker: Worker | None = None  # of a worker process


def _start(options: ScoreOptions, threads: int) -> None:
    global _worker
    leave_with_parent()
    _worker = Worker(options, threads)


def _do_in_worker(job: Job) -> Outcome:
    return _worker.do(job)


def _write_run(run: Run, options: ScoreOptions, worker: Worker) -> None:
    """What is about the run as a whole; nothing of it depends on how often the run was stopped."""
    done = sorted(outcome.job.name for outcome in run.outcomes if outcome.error is None)
    speakers, episodes, entries = [], [], []
    for name in done:  # one at a time: thousands of timelines would not fit into memory
        timeline = timelines.read(run.output / (name + timelines.SUFFIX))
        speakers += speaker_rows(name, timeline)
        episodes.append(episode_row(name, timeline))
        entries.append(index_entry(run.output, name, timeline))
    write_table(run.output / _named("summary_speakers.csv", run.suffix), SPEAKER_COLUMNS, speakers)
    write_table(run.output / _named("summary_episodes.csv", run.suffix), EPISODE_COLUMNS, episodes)
    if "report" in options.formats:
        write_index(run.output / _named(INDEX, run.suffix), entries)
    failed = [(o.job.name, os.fspath(o.job.media), o.error) for o in run.outcomes if o.error is not None]
    errors = run.output / _named(ERRORS, run.suffix)
    if failed:
        write_table(errors, ("episode", "file", "reason"), sorted(failed))
    else:
        errors.unlink(missing_ok=True)  # of an earlier run
    write_json(
        run.output / _named("run.json", run.suffix),
        {
            "schema": f"{SCHEMA}.run",
            "schema_version": SCHEMA_VERSION,
            "multimodal_ser": __version__,
            **worker.identity,
            "policy": options.engine.policy.described(),
            "episodes": done,
            "failed": sorted(name for name, _, _ in failed),
        },
    )


def _named(name: str, suffix: str) -> str:
    stem, dot, ending = name.partition(".")
    return stem + suffix + dot + ending
