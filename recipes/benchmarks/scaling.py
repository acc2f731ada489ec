"""What more workers and longer recordings cost: ratios within one run, transcripts given.

    python recipes/benchmarks/scaling.py WORK [--model starter] [--only workers length] [--hours 10]

workers   episodes of equal length by one worker process and by two, in turns, and by one that is held to one
          core: a single worker decodes ahead on another core if that is free. Given are seconds on the clock,
          whole and without start-up, which as many half-minute episodes measure, seconds of processor, and
          how many cores were at work.
length    one recording of many hours against the same sound as single episodes, before and after it, by one
          worker: seconds of processor per hour of sound without start-up, and the largest memory.

The sound is an episode of the synthetic voice, repeated; 16 kHz FLAC, with WebVTT. Prints JSON. What is said
of workers holds where both cores are free; the load stands beside it.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import soundfile

from multimodal_ser.cache import atomic_path, write_text
from multimodal_ser.corpora.episode import Episode, make_episode
from multimodal_ser.corpora.episode_files import vtt

SHORT_MINUTES = 0.5  # of episodes that cost little but the start
MIB = 2**20
WAYS = {"one worker": (1, False), "one worker on one core": (1, True), "two workers": (2, False)}
RATE = 16_000


class Cost(NamedTuple):
    """Of one command: the largest of its processes gives the memory."""

    clock: float  # seconds
    processor: float  # seconds, over all its processes
    peak: float  # MiB


def score(media: Path, output: Path, model: str, jobs: int, on_one_core: bool = False) -> Cost:
    """`score` in a process of its own, from nothing."""
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "multimodal_ser", "score", str(media), "-o", str(output)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--model", model, "--jobs", str(jobs)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=_hold_to_one_core if on_one_core else None,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}; run it to see why")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / MIB)


def _hold_to_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def repeated(episode: Episode, path: Path, times: int) -> float:
    """The episode over and over as one recording with its transcript; returns its seconds."""
    if not path.is_file():
        sound, rate = soundfile.read(episode.audio, dtype="int16")
        with (
            atomic_path(path) as temporary,
            soundfile.SoundFile(temporary, "w", rate, 1, "PCM_16", format="FLAC") as file,
        ):
            for _ in range(times):
                file.write(sound)
    events = [
        replace(event, start=event.start + turn * episode.seconds, end=event.end + turn * episode.seconds)
        for turn in range(times)
        for event in episode.events
    ]
    write_text(path.with_suffix(".vtt"), vtt(events, path.stem))
    return times * episode.seconds


def copies(episode: Episode, count: int) -> Path:
    """A folder with the same episode under several names."""
    folder = episode.audio.parent / f"{count}_times_{episode.audio.stem}"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        for source in (episode.audio, episode.files["vtt"]):
            target = folder / f"episode{number:02}{source.suffix}"
            if not target.is_file():
                os.link(source, target)
    return folder


def made(work: Path, minutes: float) -> Episode:
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"{minutes:g}_minutes.flac"
    return make_episode(path, minutes=minutes, seed=0, sample_rate=RATE, transcripts=("vtt",))


def by_workers(options: argparse.Namespace, episode: Episode, short: Episode) -> dict:
    count = options.episodes
    folders = {
        "whole": copies(episode, count),
        "start": copies(short, count),
    }
    costs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(options.rounds):
        for way, (jobs, on_one_core) in WAYS.items():
            for name, folder in folders.items():
                cost = score(folder, options.work / "out", options.model, jobs, on_one_core)
                costs.setdefault((way, name), []).append(cost)
    return {"episodes": count, **_compared(costs), "load": os.getloadavg()[0]}


def _compared(costs: Mapping[tuple[str, str], Sequence[Cost]]) -> dict:
    """Per way what it costs, and how much faster two workers are, each within a round."""
    whole, start = ({way: costs[way, name] for way in WAYS} for name in ("whole", "start"))
    work = {  # without start-up
        way: [Cost(a.clock - b.clock, a.processor - b.processor, a.peak) for a, b in zip(*pair, strict=True)]
        for way, pair in ((way, (whole[way], start[way])) for way in WAYS)
    }
    found: dict[str, dict] = {
        way: {
            "clock_seconds": _spread([cost.clock for cost in whole[way]]),
            "processor_seconds": _spread([cost.processor for cost in whole[way]]),
            "start_up_clock_seconds": _spread([cost.clock for cost in start[way]]),
            "start_up_processor_seconds": _spread([cost.processor for cost in start[way]]),
            "cores_at_work_without_start_up": _spread([cost.processor / cost.clock for cost in work[way]]),
        }
        for way in WAYS
    }
    two = list(WAYS)[-1]
    for way in list(WAYS)[:-1]:
        found[f"{two} against {way}"] = {
            f"times_faster_{name}": _spread(
                [a.clock / b.clock for a, b in zip(of[way], of[two], strict=True)]
            )
            for name, of in (("whole", whole), ("without_start_up", work))
        }
    return found


def by_length(options: argparse.Namespace, episode: Episode, short: Episode) -> dict:
    times = max(1, round(options.hours * 3600 / episode.seconds))
    long = options.work / f"{times}_times_{options.minutes:g}_minutes" / "long.flac"
    long.parent.mkdir(parents=True, exist_ok=True)
    seconds = repeated(episode, long, times)
    count = min(options.episodes, times)
    singles = copies(episode, count)

    def cost(media: Path) -> Cost:
        return score(media, options.work / "out", options.model, 1)

    start = cost(short.audio)
    before, found, after = cost(singles), cost(long), cost(singles)
    alone = cost(episode.audio)
    single = [_per_hour(one, start, count * episode.seconds - short.seconds) for one in (before, after)]
    hour = _per_hour(found, start, seconds - short.seconds)
    return {
        "hours": round(seconds / 3600, 2),
        "episode_minutes": round(episode.seconds / 60, 2),
        "processor_seconds_per_hour_of_episodes": [round(value, 2) for value in single],
        "processor_seconds_per_hour_of_the_long_one": round(hour, 2),
        "long_against_episodes": round(hour / statistics.mean(single), 3),
        "peak_mib_of_one_episode": round(alone.peak),
        "peak_mib_of_the_long_one": round(found.peak),
        "clock_seconds_of_the_long_one": round(found.clock, 1),
        "load": os.getloadavg()[0],
    }


def _per_hour(cost: Cost, start: Cost, seconds: float) -> float:
    return (cost.processor - start.processor) / seconds * 3600


def _spread(values: list[float]) -> dict[str, float]:
    middle, least, most = statistics.median(values), min(values), max(values)
    return {"median": round(middle, 2), "least": round(least, 2), "most": round(most, 2)}


CASES = {"workers": by_workers, "length": by_length}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="folder for sound and results")
    parser.add_argument("--model", default="starter", help="run or model folder")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--minutes", type=float, default=10.0, help="of an episode")
    parser.add_argument("--episodes", type=int, default=4, help="that the workers share")
    parser.add_argument("--hours", type=float, default=10.0, help="of the long recording")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison of workers")
    options = parser.parse_args()
    episode, short = made(options.work, options.minutes), made(options.work / "short", SHORT_MINUTES)
    found = {name: CASES[name](options, episode, short) for name in options.only}
    print(json.dumps({"model": options.model, **found}, indent=2))


if __name__ == "__main__":
    main()
