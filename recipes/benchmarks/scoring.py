"""Scoring a long synthetic episode: seconds, memory, and the timeline against what was planted.

    python recipes/benchmarks/scoring.py MODEL WORK [--minutes 180] [--jobs N] [options of score]

Options that are not its own go to `score`, such as --draft DIR. MODEL is a model trained on the synthetic
corpus (`multimodal-ser demo` makes one in demo_output/run). Makes an episode (mp3, WebVTT, RTTM and the
truth) in WORK, scores it in a process of its own, and prints JSON.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from multimodal_ser.audio import duration
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.metrics import ccc, pearson
from multimodal_ser.podcast.timeline import Scored, read

_MIB = 1024.0  # ru_maxrss counts in KiB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    options, more = parser.parse_known_args()
    media = options.work / "episode.mp3"
    if not media.is_file():
        options.work.mkdir(parents=True, exist_ok=True)
        make_episode(media, minutes=options.minutes, seed=options.seed, transcripts=("vtt", "rttm", "csv"))
    short = options.work / "short" / "episode.mp3"
    if not short.is_file():
        short.parent.mkdir(parents=True, exist_ok=True)
        make_episode(short, minutes=0.5, seed=options.seed, transcripts=("vtt", "rttm"))
    base = scored(short, options.model, options.work / "out_short", options.jobs, more)
    found = scored(media, options.model, options.work / "out", options.jobs, more)
    seconds = duration(media)
    segments = read(options.work / "out" / "episode.emotion.json").segments
    print(
        json.dumps(
            {
                "episode_seconds": round(seconds, 1),
                "segments": len(segments),
                "drafts": sum(segment.is_draft for segment in segments),
                "seconds": found["seconds"],
                "cpu_seconds": found["cpu_seconds"],
                "times_real_time": round(seconds / found["seconds"], 1),
                "times_real_time_without_start_up": round(seconds / (found["seconds"] - base["seconds"]), 1),
                "times_real_time_per_core_without_start_up": round(
                    (seconds - duration(short)) / (found["cpu_seconds"] - base["cpu_seconds"]), 1
                ),
                "peak_mib": found["peak_mib"],
                "peak_mib_of_half_a_minute": base["peak_mib"],
                "correlation": agreement(segments, media.with_suffix(".csv"), pearson),
                "ccc": agreement(segments, media.with_suffix(".csv"), ccc),
            },
            indent=2,
        )
    )


def scored(media: Path, model: Path, output: Path, jobs: int, more: Sequence[str]) -> dict[str, float]:
    """Seconds, seconds of CPU and peak memory of the largest process, from a fresh start."""
    for path in output.glob("*"):
        path.unlink()
    program = "import sys; from multimodal_ser.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "score", str(media), "--model", str(model), "-o", str(output)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([*command, "--jobs", str(jobs), *more], check=True, stdout=subprocess.DEVNULL)
    took, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(took, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_mib": round(after.ru_maxrss / _MIB),
    }


def agreement(
    segments: Sequence[Scored], truth: Path, measure: Callable[[NDArray, NDArray], float]
) -> dict[str, dict[str, float]]:
    """Of each segment's value with the planted values in its time, by speaker and over all."""
    planted = pd.read_csv(truth, keep_default_na=False)
    planted = planted[planted["kind"] == "speech"].astype(dict.fromkeys((*DIMENSIONS, "start", "end"), float))
    rows = []
    for segment in segments:
        mine = planted[planted["speaker"] == segment.speaker]
        overlap = np.minimum(mine["end"], segment.end) - np.maximum(mine["start"], segment.start)
        weights = overlap.clip(lower=0)
        if weights.sum() > 0:
            true = {name: float(np.average(mine[name], weights=weights)) for name in DIMENSIONS}
            said = {f"said_{name}": segment.dimensions[name].fused for name in DIMENSIONS}
            rows.append({"speaker": segment.speaker, **true, **said})
    table = pd.DataFrame(rows)
    groups = {"all": table, **dict(iter(table.groupby("speaker")))}
    return {
        str(who): {
            name: round(float(measure(group[f"said_{name}"].to_numpy(), group[name].to_numpy())), 3)
            for name in DIMENSIONS
        }
        for who, group in groups.items()
    }


if __name__ == "__main__":
    main()
