"""`score`: many episodes, spread over processes or machines, and what is about the run as a whole.

`working` scores an episode, `spreading` and `cluster` say who does which. What failed is listed in
`errors.csv`.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from multimodal_ser import __version__, licences
from multimodal_ser.cache import write_json
from multimodal_ser.cores import usable_cores
from multimodal_ser.csv_files import write_table
from multimodal_ser.errors import InputError, SomeFailed
from multimodal_ser.podcast import timeline as timelines
from multimodal_ser.podcast.jobs import Job
from multimodal_ser.podcast.pages import INDEX, PAGE_SUFFIX, index_entry, write_index
from multimodal_ser.podcast.spreading import in_processes
from multimodal_ser.podcast.timeline import SCHEMA, SCHEMA_VERSION
from multimodal_ser.podcast.working import Outcome, ScoreOptions, Worker
from multimodal_ser.podcast.writers import (
    EPISODE_COLUMNS,
    SPEAKER_COLUMNS,
    WRITERS,
    episode_row,
    speaker_rows,
)

ERRORS = "errors.csv"
# Longest first in, as they end out; a worker is there that may do them, see `spreading.in_processes`.
Spread = Callable[[Sequence[Job], ScoreOptions, Worker], Iterator[Outcome]]


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
    jobs: Sequence[Job],
    options: ScoreOptions,
    suffix: str = "",
    failed: Sequence[Outcome] = (),
    spread: Spread = in_processes,
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
        for outcome in spread(by_size, options, worker):
            found[outcome.job.name] = outcome
            progress.update()
    run = Run(options.output, [*(found[job.name] for job in jobs), *failed], suffix, options.embed_audio)
    _write_run(run, options, worker)
    return run


def _threads(options: ScoreOptions, jobs: Sequence[Job]) -> int:
    """Cores of this machine that one worker may use for segments side by side."""
    return max(1, usable_cores() // max(1, min(options.jobs, len(jobs)))) if options.jobs > 1 else 1


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


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
    found = licences.of_several(worker.engine.rater.folders)
    found["weights"] += licences.of_helpers(worker.engine.helpers)
    licences.write(run.output, found)
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
