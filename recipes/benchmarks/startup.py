"""How long a command takes to begin: `score` of ten seconds, `--help`, and the import of torch alone.

    python recipes/benchmarks/startup.py [--rounds 5] [--model starter]

The clip is ten seconds of the synthetic voice with its words (WebVTT). Each round runs every command once, in
its own process, after a first round that fills the cache of the disk. Printed are medians and ranges: seconds
on the clock, and seconds of processor, which a busy machine changes less.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

from multimodal_ser.corpora.episode import make_episode

SECONDS = 10
WORDS = "WEBVTT\n\n00:00.000 --> 00:09.000\n<v Ada>I can't believe it, that is wonderful news!\n"


def commands(folder: Path, model: str) -> dict[str, list[str]]:
    """What is timed, by name."""
    make_episode(folder / "whole.wav", minutes=0.5, seed=0)
    sound, rate = soundfile.read(folder / "whole.wav")
    soundfile.write(folder / "clip.wav", sound[: SECONDS * rate], rate)
    (folder / "clip.vtt").write_text(WORDS, encoding="utf-8")
    own = [sys.executable, "-m", "multimodal_ser"]
    scoring = ["score", str(folder / "clip.wav"), "-o", str(folder / "out")]
    return {
        "score of ten seconds": [*own, *scoring, "--model", model],
        "import torch": [sys.executable, "-c", "import torch"],
        "import pandas": [sys.executable, "-c", "import pandas"],
        "--help": [*own, "--help"],
        "score --help": [*own, "score", "--help"],
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of processor."""
    before, begin = _processor(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin, _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _said(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):5.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times that each command is run")
    parser.add_argument("--model", default="starter", help="run or model folder")
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = commands(Path(folder), arguments.model)
        for number in range(arguments.rounds + 1):
            for name, command in given.items():
                shutil.rmtree(Path(folder) / "out", ignore_errors=True)
                seconds = timed(command)
                if number:  # the first round fills the cache
                    found.setdefault(name, []).append(seconds)
    print(f"{'':22}{'clock':24}processor")
    for name, rounds in found.items():
        clock, processor = zip(*rounds, strict=True)
        print(f"{name:22}{_said(list(clock)):24}{_said(list(processor))}")
    print("load of one, five and fifteen minutes:", *(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    main()
