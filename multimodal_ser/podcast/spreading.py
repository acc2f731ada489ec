"""Episodes spread over the processes of this machine: `in_processes`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized

from multimodal_ser.cores import places_for, take_place, usable_cores
from multimodal_ser.inference import chosen_device
from multimodal_ser.podcast import PRELOADED
from multimodal_ser.podcast.jobs import Job
from multimodal_ser.podcast.working import Outcome, ScoreOptions, Worker
from multimodal_ser.workers import begin, end_server, processes_with

DIED = "the process that scored it died, probably for want of memory; try --jobs 1"


def in_processes(jobs: Sequence[Job], options: ScoreOptions, worker: Worker) -> Iterator[Outcome]:
    """What became of each job, as it ends; with one process `worker`, which is there, does them."""
    count = min(options.jobs, len(jobs))
    if count <= 1:
        yield from (worker.do(job) for job in jobs)
        return
    missing = {job.name: job for job in jobs}
    try:
        for outcome in _by_pool(jobs, options, count):
            del missing[outcome.job.name]
            yield outcome
    except BrokenProcessPool:
        end_server()  # it may have died with them
        for job in missing.values():  # one of these ends its process: each by itself
            try:
                yield from _by_pool([job], options, 1)
            except BrokenProcessPool:
                yield Outcome(job, DIED)


def _by_pool(jobs: Sequence[Job], options: ScoreOptions, count: int) -> Iterator[Outcome]:
    context = processes_with(PRELOADED)
    on_processor = chosen_device(options.device).type == "cpu"
    places = places_for(count, context) if on_processor else None
    given = (options, max(1, usable_cores() // count), dict(os.environ), places)
    with ProcessPoolExecutor(count, context, _start, given) as workers:
        try:
            futures: list[Future] = [workers.submit(_do_in_worker, job) for job in jobs]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


_worker: Worker | None = None  # of a worker process


def _start(
    options: ScoreOptions, threads: int, environment: Mapping[str, str], places: Synchronized | None
) -> None:
    global _worker
    begin(environment)
    take_place(places)
    _worker = Worker(options, threads)


def _do_in_worker(job: Job) -> Outcome:
    try:
        return _worker.do(job)
    except BaseException:  # interrupted, as anything else is an outcome: another job waits here already
        os._exit(1)
