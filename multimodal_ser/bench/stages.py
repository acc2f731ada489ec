"""Seconds of each stage of scoring, measured in turns.

One round runs every stage once; a ratio is taken within a round, so that what else the machine does meets
both sides. Clips run one at a time: padding is no part of scoring on a processor.
"""

import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from multimodal_ser.backends.choice import unavailable
from multimodal_ser.backends.files import ONNX_FOLDER
from multimodal_ser.backends.running import BACKENDS, REFERENCE, BackedModel
from multimodal_ser.bench.limit import peak
from multimodal_ser.bench.parts import AUDIO, Stage, noise, stages_of
from multimodal_ser.models.ser import SerModel


def measure(
    model: SerModel,
    folder: Path | None,
    compare: bool,
    seconds: float,
    rounds: int,
    whisper: str | None = None,
) -> dict[str, Any]:
    """All stages of a model; `compare` adds the audio branch in every backend that can run here."""
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        stages = stages_of(model, seconds, Path(scratch), whisper)
        refused = {}
        if compare and model.audio is not None:
            refused = _add_backends(stages, model, folder, seconds)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in stages}
        peaks: dict[str, list[float]] = {}
        for stage in stages.values():
            stage.run()  # once for what is allocated and compiled at first
        for _ in range(rounds):
            for name, stage in stages.items():
                runs[name].append(_timed(stage.run))
            for precision in ("fp32", "bf16") if compare else ("fp32",):
                peaks.setdefault(precision, []).append(peak(precision))
    return {**_report(stages, runs, peaks, refused, seconds), "whisper": whisper}


def _add_backends(
    stages: dict[str, Stage], model: SerModel, folder: Path | None, seconds: float
) -> dict[str, str]:
    clip = noise(seconds)
    lengths = torch.tensor([clip.shape[1]])
    alone = _audio_alone(model)
    refused = {}
    for name in BACKENDS:
        if name == REFERENCE:
            continue
        torch_only = BACKENDS[name].runtime == "torch"
        reason = "it needs a model folder" if folder is None and not torch_only else None
        reason = reason or unavailable(folder or Path(), name)
        if reason:
            refused[name] = reason
            continue
        backed = BackedModel(alone, name, None if folder is None else folder / ONNX_FOLDER)
        stages[f"audio {name}"] = Stage(
            seconds,
            lambda backed=backed: backed.encode(clip, lengths, None, None),
            stages[AUDIO].flops,
            BACKENDS[name].precision,
        )
    return refused


def _audio_alone(model: SerModel) -> SerModel:
    """The same weights without the text branch, which is a stage of its own."""
    alone = SerModel.__new__(SerModel)
    torch.nn.Module.__init__(alone)
    alone.config, alone.text = model.config, None
    alone.audio, alone.layer_mix = model.audio, model.layer_mix
    alone.audio_projection = model.audio_projection
    return alone


def _timed(run: Callable) -> tuple[float, float]:
    """Seconds on the clock, and seconds of processor over all threads of this process."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - clock, time.process_time() - processor


def _report(
    stages: dict[str, Stage], runs: dict, peaks: dict, refused: dict[str, str], seconds: float
) -> dict[str, Any]:
    limits = {precision: statistics.median(found) for precision, found in peaks.items()}
    report: dict[str, Any] = {}
    for name, stage in stages.items():
        audio, limit = stage.seconds, limits.get(stage.precision)
        clock, processor = (statistics.median(values) for values in zip(*runs[name], strict=True))
        report[name] = {
            "xrt": audio / clock,
            "xrt_per_core": audio / processor if processor else None,
            "seconds_per_hour": 3600 * clock / audio,
            "percent_of_limit": 100 * stage.flops / clock / limit if stage.flops and limit else None,
            **_ratio(name, runs),
        }
    return {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
        },
        "torch": str(torch.__version__),
        "clip_seconds": seconds,
        "padding_share": 0.0,  # clips run one at a time
        "peak_operations_per_second": limits,
        "peak_memory_bytes": _peak_memory(),
        "unavailable": refused,
        "stages": report,
    }


def _ratio(name: str, runs: dict) -> dict[str, Any]:
    """How much faster than the reference in the same round, by clock and by processor time."""
    reference = runs.get(AUDIO)
    if not name.startswith("audio ") or reference is None:
        return {}
    found: dict[str, Any] = {}
    for place, unit in enumerate(("clock", "processor")):
        ratios = [a[place] / b[place] for a, b in zip(reference, runs[name], strict=True) if b[place]]
        if ratios:
            middle = statistics.median(ratios)
            found[unit] = {"median": middle, "least": min(ratios), "most": max(ratios)}
    return {"ratio_to_reference": found}


def _peak_memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
