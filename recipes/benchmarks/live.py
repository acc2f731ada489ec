"""How long after its end a segment is told: a synthetic episode through a pipe, in real time.

    python recipes/benchmarks/live.py MODEL WORK [--minutes 3] [--words]

Starts `score --live` in a process of its own, waits until it listens, sends the sound as fast as it would be
spoken, and prints JSON: the delays between a segment's end and its line, in seconds.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from multimodal_ser.corpora.episode import make_episode

RATE = 16_000
BLOCK_SECONDS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--speech", default="auto")
    parser.add_argument("--words", action="store_true", help="with the episode's transcript")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    media = options.work / "live.wav"
    episode = make_episode(
        media, minutes=options.minutes, seed=options.seed, sample_rate=RATE, transcripts=("vtt",)
    )
    command = [sys.executable, "-m", "multimodal_ser", "score", "--live", "--model", str(options.model)]
    command += ["--speech", options.speech]
    if options.words:
        command += ["--live-transcript", str(episode.files["vtt"])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        said = ""
        for line in process.stderr:
            if b"listening" in line:
                break
            said += line.decode()
        told: list[tuple[float, dict]] = []
        reader = threading.Thread(
            target=lambda: told.extend((time.monotonic(), json.loads(line)) for line in process.stdout)
        )
        reader.start()
        started = send(media, process)
        process.stdin.close()
        reader.join()
    delays = np.array([moment - started - line["end"] for moment, line in told])
    lasting = np.array([line["end"] - line["start"] for _, line in told])
    print(
        json.dumps(
            {
                "said": said.strip(),
                "seconds": round(episode.seconds, 1),
                "segments": len(told),
                "longest_segment": round(float(lasting.max()), 1),
                "delay_median": round(float(np.median(delays)), 3),
                "delay_worst": round(float(delays.max()), 3),
                "with_words": sum(line["text_source"] not in ("none", "untrusted") for _, line in told),
            },
            indent=2,
        )
    )


def send(media: Path, process: subprocess.Popen) -> float:
    """Write the sound in real time; when its first sample was due."""
    data = soundfile.read(media, dtype="int16")[0].astype("<i2").tobytes()
    size = round(RATE * BLOCK_SECONDS) * 2
    started = time.monotonic()
    for number, position in enumerate(range(0, len(data), size), start=1):
        # A microphone gives a block when its last sample has been heard.
        time.sleep(max(0.0, started + number * BLOCK_SECONDS - time.monotonic()))
        process.stdin.write(data[position : position + size])
        process.stdin.flush()
    return started


if __name__ == "__main__":
    main()
