"""How far an exported graph is from the network it was made from, in unit scale.

Five lengths, each alone and all in one padded batch. Single precision has to agree to EXACT; what lower
precision loses is reported here and judged by the accuracy gate.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.export.clips import Clip
from multimodal_ser.export.graphs import readings
from multimodal_ser.models.ser import SerModel

PARITY = "parity.json"
LENGTHS = (0.3, 1.0, 3.0, 5.0, 10.0)  # seconds; a clip that is shorter is repeated
EXACT = 1e-3  # largest difference that single precision may show, in unit scale


def measure_parity(model: SerModel, path: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """Largest and mean difference of every output that is in unit scale, per length and for the batch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    cut = [_stretched(clips[index % len(clips)], seconds) for index, seconds in enumerate(LENGTHS)]
    cases = {f"batch 1, {seconds} s": [clip] for seconds, clip in zip(LENGTHS, cut, strict=True)}
    cases[f"batch {len(cut)}, all lengths"] = cut
    report: dict[str, Any] = {}
    for name, case in cases.items():
        differences = _differences(model, session, case)
        report[name] = {"max": float(differences.max()), "mean": float(differences.mean())}
    return {
        "max": max(case["max"] for case in report.values()),
        "mean": float(np.mean([case["mean"] for case in report.values()])),
        "cases": report,
    }


def check_exact(report: dict[str, Any]) -> None:
    """Refuse a graph of single precision that is not the network."""
    if not report["max"] <= EXACT:
        raise RuntimeError(
            f"the exported graph differs from the network by {report['max']:.2g}, allowed is {EXACT}; "
            "an operator was translated wrongly, or the runtime computes in another precision"
        )


def feed(model: SerModel, clips: Sequence[Clip]) -> dict[str, NDArray]:
    """Clips as the joined graph takes them."""
    given: dict[str, NDArray] = {}
    if model.audio is not None:
        lengths = np.array([clip.waveform.size for clip in clips])
        waveforms = np.zeros((len(clips), lengths.max()), np.float32)
        for row, clip in zip(waveforms, clips, strict=True):
            row[: clip.waveform.size] = clip.waveform
        given |= {"waveforms": waveforms, "lengths": lengths}
    if model.text is not None:
        longest = model.text.window - 2
        tokens = model.text.tokenize([clip.text for clip in clips])
        ids, mask = (t[:, :longest].numpy() for t in tokens)
        if not ids.shape[1]:  # nobody says anything: the graph still wants one place
            ids, mask = np.zeros((len(clips), 1), np.int64), np.zeros((len(clips), 1), bool)
        given |= {"token_ids": ids, "token_mask": mask}
    return given


def _differences(model: SerModel, session: Any, clips: Sequence[Clip]) -> NDArray[np.float64]:
    given = feed(model, clips)
    names = [name for name in readings(model) if name != "logits"]
    found = session.run(names, given)
    tensors = {name: torch.from_numpy(value) for name, value in given.items()}
    encoded = model.encode(
        *(tensors.get(name) for name in ("waveforms", "lengths", "token_ids", "token_mask"))
    )
    wanted = [model.read(encoded, reading).dimensions.numpy() for reading in model.readings]
    return np.abs(np.stack(found).astype(np.float64) - np.stack(wanted))


def _stretched(clip: Clip, seconds: float) -> Clip:
    samples = int(seconds * SAMPLE_RATE)
    return Clip(np.resize(clip.waveform, samples), clip.text)
