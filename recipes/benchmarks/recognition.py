"""Scoring with speech recognition: a Whisper of true size with random weights, over one recording.

    python recipes/benchmarks/recognition.py MODEL MEDIA WORK [--engine whisper] [--size base] [--tokens 100]
        [--threads 2]

MODEL is a model folder, MEDIA a recording; a transcript beside it is not read. Random weights never end a
text of their own accord, so each window gets TOKENS tokens: about what people say in half a minute (150 words
a minute, 1.3 tokens a word). No window is decoded a second time, as the random text would always ask for. So
this is the speed of the arithmetic, not a measurement of what real weights hear. MODEL runs by the
backend that its gate lets pass. `--engine faster-whisper` is int8, and of the size of base only. Prints JSON.
"""

import argparse
import dataclasses
import json
import resource
import sys
import time
from functools import partial
from pathlib import Path

import torch

from multimodal_ser.audio import duration
from multimodal_ser.bench.parts import TOKENS
from multimodal_ser.bench.sizes import WHISPER_SIZES, random_whisper
from multimodal_ser.podcast.engine import EngineOptions
from multimodal_ser.podcast.jobs import jobs_of
from multimodal_ser.podcast.scoring import score
from multimodal_ser.podcast.working import ScoreOptions
from multimodal_ser.transcripts.asr import ENGINES, AsrOptions, Transcriber
from multimodal_ser.transcripts.openai_engine import WhisperTranscriber

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves the script's own folder out

from peers import saved_for_ctranslate2

OPTIONS = AsrOptions(language="en", temperatures=(0.0,))


class Limited(WhisperTranscriber):
    """Ends each text after so many tokens."""

    def __init__(self, model: str, options: AsrOptions, tokens: int, threads: int) -> None:
        super().__init__(model, options, "cpu", threads)
        self.tokens = tokens

    def _decoding(self, temperature: float):
        return dataclasses.replace(super()._decoding(temperature), sample_len=self.tokens)


def transcriber(model: str, tokens: int, own_threads: int, threads: int) -> Limited:
    return Limited(model, OPTIONS, tokens, own_threads)


def fast_transcriber(model: str, tokens: int, own_threads: int, threads: int) -> Transcriber:
    from multimodal_ser.transcripts.faster_engine import FasterWhisperTranscriber

    class LimitedFast(FasterWhisperTranscriber):
        def _common(self) -> dict:
            return super()._common() | {"max_new_tokens": tokens}

    return LimitedFast(model, OPTIONS, "cpu", own_threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("media", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--engine", choices=ENGINES, default="whisper")
    parser.add_argument("--size", choices=WHISPER_SIZES, default="base")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.engine == "whisper":
        make, weights = transcriber, saved(options.work / f"{options.size}.pt", options.size)
    elif options.size == "base":
        make, weights = fast_transcriber, saved_for_ctranslate2(options.work / "whisper-base-ct2")
    else:
        parser.error("faster-whisper is measured at the size of base only")
    make = partial(make, str(weights), options.tokens, options.threads)
    output = options.work / "out"
    for path in output.glob("*"):
        path.unlink()
    started, before = time.monotonic(), time.process_time()
    run = score(
        jobs_of([options.media], look_beside=False),
        ScoreOptions(
            options.model, output, EngineOptions(), make_transcriber=make, device="cpu", backend="auto"
        ),
    )
    took, cpu = time.monotonic() - started, time.process_time() - before
    run.raise_failures()
    seconds = duration(options.media)
    found = {
        "engine": options.engine,
        "size": options.size,
        "tokens_per_window": options.tokens,
        "threads": options.threads,
        "episode_seconds": round(seconds, 1),
        "seconds": round(took, 1),
        "cpu_seconds": round(cpu, 1),
        "times_real_time": round(seconds / took, 1),
        "times_real_time_per_cpu_second": round(seconds / cpu, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    json.dump(found, sys.stdout, indent=2)
    print()


def saved(path: Path, size: str) -> Path:
    """A checkpoint of that size with random weights, as openai-whisper's own files are."""
    if not path.is_file():
        model = random_whisper(size)
        torch.save({"dims": dataclasses.asdict(model.dims), "model_state_dict": model.state_dict()}, path)
    return path


if __name__ == "__main__":
    main()
