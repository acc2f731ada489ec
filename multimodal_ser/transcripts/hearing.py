"""Many cuts of many recordings, heard in several processes, so that a run can be killed and go on.

Cuts are heard in groups of neighbours. A group is the unit of work and of resuming: its results are kept
before the next one begins, and whoever hears it again hears all of it, in the same batches. With the same
number of processes a resumed run therefore gives the same results bit for bit; with another number the
library may add in another order, and a probability may differ in the last place.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from multimodal_ser.audio import AudioError
from multimodal_ser.cores import usable_cores
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.asr import Transcriber
from multimodal_ser.transcripts.listening import Cut, Listener, Passage
from multimodal_ser.transcripts.speech import SpeechOptions, detector_named
from multimodal_ser.workers import leave_with_parent

GROUP = 32  # cuts; at five seconds each, a kill loses some minutes of work on a CPU at most

MakeTranscriber = Callable[..., Transcriber]  # takes threads=; a process gets it pickled
Result = list[Passage] | str  # passages, or what is wrong


@dataclass(frozen=True)
class Hearing:
    """What a process needs to make its listener."""

    make: MakeTranscriber
    detector: str
    speech: SpeechOptions
    cache: Path | None

    def listener(self, threads: int | None) -> Listener:
        transcriber = self.make(threads=threads)
        return Listener(transcriber, detector_named(self.detector), self.speech, self.cache)


def hear_all(hearing: Hearing, cuts: Sequence[Cut], jobs: int = 1) -> tuple[dict[str, Any], list[Result]]:
    """What the results come from, and the result of every cut, in order."""
    groups = [cuts[start : start + GROUP] for start in range(0, len(cuts), GROUP)]
    jobs = max(1, min(jobs, len(groups)))
    # Made here also for several processes: what is wrong with the model is said once and at once.
    listener = hearing.listener(None)
    about = {
        "name": listener.transcriber.name,
        "recogniser": listener.transcriber.identity,
        "options": listener.transcriber.options.in_key(),
        "detector": listener.detector.identity,
    }
    with tqdm(total=len(cuts), desc="transcribe", unit="utterance", disable=None) as progress:
        if jobs == 1:
            return about, _collected((_hear(listener, group) for group in groups), progress)
        listener = None  # the memory of one model
        return about, _in_processes(hearing, groups, jobs, progress)


def _in_processes(
    hearing: Hearing, groups: Sequence[Sequence[Cut]], jobs: int, progress: tqdm
) -> list[Result]:
    threads = max(1, usable_cores() // jobs)
    context = get_context("spawn")  # not forked: the libraries' threads would not survive it
    with ProcessPoolExecutor(jobs, context, _start, (hearing, threads)) as workers:
        try:
            return _collected(workers.map(_hear_in_worker, groups), progress)
        except BrokenProcessPool:
            raise InputError(
                f"a worker process died, probably for want of memory: each of the {jobs} holds a model of "
                "its own. Try fewer --jobs; what is done is kept"
            ) from None
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise


def _collected(parts: Iterable[list[Result]], progress: tqdm) -> list[Result]:
    collected = []
    for part in parts:
        progress.update(len(part))
        collected.append(part)
    return list(chain.from_iterable(collected))


_listener: Listener | None = None  # of a worker process


def _start(hearing: Hearing, threads: int) -> None:
    global _listener
    leave_with_parent()
    _listener = hearing.listener(threads)


def _hear_in_worker(group: Sequence[Cut]) -> list[Result]:
    return _hear(_listener, group)


def _hear(listener: Listener, group: Sequence[Cut]) -> list[Result]:
    """The results of a group; if the recogniser itself fails, its cuts are tried one by one."""
    try:
        return [str(r) if isinstance(r, AudioError) else r for r in listener.listen_to(group)]
    except RuntimeError as error:  # of torch: memory, or numbers that a model cannot take
        if len(group) == 1:
            return [f"the recogniser failed: {' '.join(str(error).split())[:200]}"]
    return [result for cut in group for result in _hear(listener, [cut])]
