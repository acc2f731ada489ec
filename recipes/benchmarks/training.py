"""Training at the true sizes: hours of audio per second, arithmetic achieved, memory. Random weights.

    python recipes/benchmarks/training.py [CASE ...] [--hours 40] [--precision bf16]

The corpus is simulated: lengths like those of MSP-Podcast (2.75 to 11 s, log-normal, 5.8 s on average), cut
from one hour of noise, with random labels. `frozen` and `trainable` are the loop of `train` over DistilHuBERT
and the default heads, with the convolutional front end as named; `cached` is `frozen` with
`model.audio.cached_front_end: fp16`, whose maps are written before the clock starts. `distillation`
(DistilHuBERT of HuBERT-base) and `vesper` (4 blocks of WavLM Large's size) run --steps steps of the loop.
Prints a JSON line per case. Arithmetic is counted by formula (`bench/limit.py`): forward, and twice that for
what is trained.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from multimodal_ser.audio_store import AudioStore
from multimodal_ser.batches import DurationBatches
from multimodal_ser.bench.limit import front_end_flops, hubert_flops
from multimodal_ser.data import Collate, Examples
from multimodal_ser.front_end_store import encode_once
from multimodal_ser.manifests import Header, Manifest
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder, HubertEncoderConfig
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.students import StudentConfig, make_student
from multimodal_ser.objectives.distillation import Distillation, DistillationConfig
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.supervised import Supervised, SupervisedConfig
from multimodal_ser.objectives.vesper import Vesper, VesperConfig, without_final_norm
from multimodal_ser.training import TrainingConfig, train
from multimodal_ser.utterances import Utterance

SAMPLE_RATE = 16_000
CASES = ("frozen", "trainable", "cached", "distillation", "vesper")
TYPICAL = int(5.8 * SAMPLE_RATE)  # samples for which arithmetic per second is counted
WAVLM_LARGE = {**PUBLISHED["facebook/hubert-large-ll60k"].network, "model_type": "wavlm"}


class NoiseStore(AudioStore):
    """Clips of the wanted lengths, all from one file of noise."""

    def __init__(self, noise: Path, lengths: np.ndarray) -> None:
        self.noise, self.lengths = noise, lengths
        self.shards, self.positions = [noise], np.arange(len(lengths))
        self._samples = None

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        if self._samples is None:
            self._samples = np.memmap(self.noise, dtype=np.int16, mode="r")
        length = int(self.lengths[index])
        start = index * 7_919 % (len(self._samples) - length)
        return self._samples[start : start + length]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_samples": None}


def corpus(hours: float, folder: Path) -> Examples:
    """A made-up corpus of that many hours."""
    generator = np.random.default_rng(0)
    noise = folder / "noise.int16"
    if not noise.exists():
        generator.normal(0, 3_000, 3_600 * SAMPLE_RATE).astype(np.int16).tofile(noise)
    seconds = np.clip(generator.lognormal(1.68, 0.4, int(hours * 3_600 / 5.8 * 1.1)), 2.75, 11.0)
    seconds = seconds[: np.searchsorted(np.cumsum(seconds), hours * 3_600) + 1]
    labels = generator.uniform(0, 1, (len(seconds), 3))
    utterances = [
        Utterance(id=str(n), corpus="noise", arousal=a, valence=v, dominance=d)
        for n, (a, v, d) in enumerate(labels.tolist())
    ]
    store = NoiseStore(noise, (seconds * SAMPLE_RATE).astype(np.int64))
    return Examples(Manifest(Header("noise"), utterances), store)


def flops_per_second(
    trained: HubertEncoder, teacher: HubertEncoder | None = None, front_end: str = "frozen"
) -> float:
    """Arithmetic of a training step per second of audio; front_end: see CASES."""
    front, _ = front_end_flops(trained, TYPICAL)
    above = hubert_flops(trained, TYPICAL) - front
    total = 3 * above + {"frozen": 1, "trainable": 3, "cached": 0}[front_end] * front
    if teacher is not None:
        total += hubert_flops(teacher, TYPICAL)
    return total / (TYPICAL / SAMPLE_RATE)


def looped(
    objective: Objective,
    hours: float,
    steps: int | None,
    options: argparse.Namespace,
    is_cached: bool = False,
) -> dict[str, float]:
    """The loop of `train` over a made-up corpus, less one of a few steps that pays for the start."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples, tiny = corpus(hours, folder), corpus(0.05, folder)
        if is_cached:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            front_end = objective.model.audio
            examples, tiny = (
                part.with_features(
                    encode_once(front_end, part.store, "fp16", folder / str(len(part)), device)
                )
                for part in (examples, tiny)
            )
        for label, limit in (("warm", 5), ("run", steps)):
            settings = TrainingConfig(
                epochs=1, max_steps=limit, batch_seconds=options.batch_seconds, precision=options.precision,
                workers=options.workers, checkpoint_steps=10**9, patience=None,
            )  # fmt: skip
            batches = DurationBatches(examples.seconds, options.batch_seconds, 0).epoch(0)[:limit]
            audio = sum(examples.seconds[batch].sum() for batch in batches)
            start = time.perf_counter()
            train(objective, examples, tiny, Collate(), settings, folder / label)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found.append((len(batches), audio, time.perf_counter() - start))
    (few, audio_few, seconds_few), (all_steps, audio_all, seconds_all) = found
    if all_steps <= few:
        raise SystemExit(
            "too few steps to tell the start from the rest: more --hours, or fewer --batch-seconds"
        )
    seconds, audio = seconds_all - seconds_few, audio_all - audio_few
    return {
        "steps": all_steps,
        "audio_hours": audio / 3_600,
        "seconds": seconds,
        "start_seconds": seconds_few,
    }


def case(name: str, options: argparse.Namespace) -> dict[str, float | str]:
    """Measure one case."""
    torch.manual_seed(0)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if name in ("frozen", "trainable", "cached"):
        shape = PUBLISHED["ntu-spml/distilhubert"]
        config = HubertEncoderConfig(
            shape.network, shape.normalise_input, frozen_front_end=name != "trainable"
        )
        encoder = HubertEncoder.from_config(config)
        model = SerModel(SerConfig(fusion="audio"), encoder)
        work = flops_per_second(encoder, front_end=name)
        objective = Supervised(model, SupervisedConfig())
        found = looped(objective, options.hours, None, options, is_cached=name == "cached")
    elif name == "distillation":
        teacher = HubertEncoder.from_config(PUBLISHED["facebook/hubert-base-ls960"])
        settings = DistillationConfig(teacher="random", student=StudentConfig(blocks=2, start="first"))
        student = make_student(teacher, settings.student)
        work = flops_per_second(
            student, teacher, "frozen" if student.config.frozen_front_end else "trainable"
        )
        found = looped(Distillation(student, teacher, settings), options.hours, options.steps, options)
    else:
        teacher = HubertEncoder.from_config(HubertEncoderConfig(WAVLM_LARGE, normalise_input=False))
        settings = VesperConfig(teacher="random")
        student = make_student(
            teacher, StudentConfig(settings.blocks, settings.start, final_norm=False), hides=True
        )
        work = flops_per_second(
            student, teacher, "frozen" if student.config.frozen_front_end else "trainable"
        )
        objective = Vesper(student, without_final_norm(teacher), settings, 0)
        found = looped(objective, options.hours, options.steps, options)
    rate = found["audio_hours"] / found["seconds"]
    memory = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else float("nan")
    return {
        "case": name,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "precision": options.precision,
        "batch_seconds": options.batch_seconds,
        **{key: round(value, 3) for key, value in found.items()},
        "steps_per_second": round(found["steps"] / found["seconds"], 3),
        "audio_hours_per_second": round(rate, 4),
        "seconds_for_400_hours": round(400 / rate, 1),
        "tflops": round(rate * 3_600 * work / 1e12, 2),
        "gpu_gib": round(memory, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--hours", type=float, default=40.0, help="of the made-up corpus")
    parser.add_argument("--steps", type=int, default=1_000, help="of distillation and vesper")
    parser.add_argument("--batch-seconds", type=float, default=640.0)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    for name in options.cases or CASES:
        print(json.dumps(case(name, options)), flush=True)


if __name__ == "__main__":
    main()
