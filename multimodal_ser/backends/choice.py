"""Which backend runs a model: what was asked for, if the machine has it and the model's gate lets it pass."""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from multimodal_ser.backends.files import ONNX_FOLDER, graph_path, read_record
from multimodal_ser.backends.gate import passed_gate
from multimodal_ser.backends.running import BACKENDS, REFERENCE, BackedModel
from multimodal_ser.cache import hash_unchanged
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor, model_folder
from multimodal_ser.labels import nearest
from multimodal_ser.models.pretrained import read_settings
from multimodal_ser.models.ser import WEIGHTS

# Fastest first, as measured in recipes/benchmarks/backends.md. What has to be compiled first is used where it
# is named, since nobody knows here how much there is to score.
BY_SPEED = ("openvino-int8", "ort-int8", "openvino-bf16", "torch-bf16", "ort-fp32", REFERENCE)
BY_SPEED_WITH_AMX = ("torch-bf16", "openvino-int8", "openvino-bf16", "ort-int8", REFERENCE)
NARROW = 192  # a width below which a network gains nothing by bfloat16


class Choice(NamedTuple):
    """A backend, and why none of those that would have been preferred."""

    backend: str
    refused: dict[str, str]

    def __str__(self) -> str:
        reasons = "; ".join(f"not {name}: {reason}" for name, reason in self.refused.items())
        return f"{self.backend} ({reasons})" if reasons else self.backend


def choose(folder: str | os.PathLike, wanted: str = "auto", device: str = "cpu") -> Choice:
    """The backend for a model folder; what cannot or may not be used is replaced by the reference."""
    if wanted != "auto" and wanted not in BACKENDS:
        known = ["auto", *BACKENDS]
        raise InputError(f"unknown backend '{wanted}'{nearest(wanted, known)}; known: {', '.join(known)}")
    folder = model_folder(folder)
    refused: dict[str, str] = {}
    order: Sequence[str] = by_speed() if wanted == "auto" else (wanted, REFERENCE)
    for name in order:
        slower = _slower_here(folder, name, device) if wanted == "auto" else None
        reason = slower or unavailable(folder, name, device) or passed_gate(folder, _judged_as(name))
        if reason is None:
            return Choice(name, refused)
        refused[name] = reason
    raise AssertionError("the reference is always available")


def by_speed() -> Sequence[str]:
    """The backends that `auto` tries, fastest first."""
    return BY_SPEED_WITH_AMX if torch.cpu._is_amx_tile_supported() else BY_SPEED


def load(folder: str | os.PathLike, wanted: str = "auto", device: str = "auto") -> tuple[Predictor, Choice]:
    """A predictor that runs on the chosen backend."""
    folder = model_folder(folder)
    predictor = Predictor.load(folder, device)
    choice = choose(folder, wanted, predictor.device.type)
    return with_backend(predictor, folder, choice.backend), choice


def with_backend(predictor: Predictor, folder: Path, name: str) -> Predictor:
    """The same model, run by a backend that is available."""
    if name == REFERENCE:
        return predictor
    backed = BackedModel(predictor.model, name, folder / ONNX_FOLDER)
    return Predictor(backed, predictor.calibration, predictor.name)


def unavailable(folder: Path, name: str, device: str = "cpu") -> str | None:
    """Why a backend cannot run here, or None."""
    runtime, precision, way = BACKENDS[name]
    if way == "compiled" and (reason := _not_compiled(folder, device)):
        return reason
    if runtime == "torch":
        return None if precision == "fp32" else _without_bfloat16(device)
    if device != "cpu":
        return f"it runs on the processor, the model on {device}"
    if runtime == "openvino" and read_settings(folder).get("audio") is None:
        return "it would run the audio branch, and this model has none; ort-int8 runs the words"
    module = {"ort": "onnxruntime", "openvino": "openvino"}[runtime]
    for needed, extra in ((module, runtime.replace("ort", "onnx")), ("onnxruntime", "onnx")):
        if find_spec(needed) is None:
            return f"{needed} is not installed; the extra '{extra}' has it"
    if precision == "bf16" and (reason := _without_bfloat16("cpu")):
        return reason
    kind = "int8" if precision == "int8" else "fp32"
    if reason := _without_graphs(folder, kind):
        return reason
    audio = graph_path(folder / ONNX_FOLDER, "audio", kind)
    return _unreadable_by_openvino(audio) if runtime == "openvino" and audio.is_file() else None


def _judged_as(name: str) -> str:
    """The backend whose gate opens this one: compiled, the same is computed in the same precision."""
    backend = BACKENDS[name]
    return f"{backend.runtime}-{backend.precision}"


def _not_compiled(folder: Path, device: str) -> str | None:
    if device != "cuda":
        return f"compiling pays on a GPU, the model is on {device}"
    if find_spec("triton") is None:
        return "triton is not installed, by which torch compiles for a GPU"
    audio = read_settings(folder).get("audio")
    has_front_end = isinstance(audio, dict) and audio.get("kind") == "hubert"
    return None if has_front_end else "this model has no convolutional front end to compile"


def _slower_here(folder: Path, name: str, device: str) -> str | None:
    """Why a backend is no faster than the reference for this model, as measured in the same place."""
    settings = read_settings(folder)
    audio, text = settings.get("audio") or {}, settings.get("text") or {}
    is_log_mel = audio.get("kind") in ("mel", "bands")
    if BACKENDS[name].runtime != "torch":
        return "torch is faster for a log-mel encoder" if is_log_mel else None
    if name != "torch-bf16" or device != "cpu":
        return None
    if not torch.cpu._is_amx_tile_supported():
        return "without AMX a processor multiplies bfloat16 no faster than single precision"
    configs = [part.get("config", {}) for part in (audio, text)]
    widest = max(config.get(key, 0) for config in configs for key in ("width", "hidden_size", "dim"))
    is_narrow = (is_log_mel or not audio) and widest < NARROW
    return f"single precision is as fast for networks less than {NARROW} wide" if is_narrow else None


def _without_graphs(folder: Path, precision: str) -> str | None:
    graphs = folder / ONNX_FOLDER
    try:
        record = read_record(graphs)
    except InputError:
        return f"{ONNX_FOLDER}/ in the model folder holds no export; `export MODEL -o MODEL/{ONNX_FOLDER}`"
    if record["weights"] != hash_unchanged(folder / WEIGHTS):
        return f"{ONNX_FOLDER}/ was exported from other weights than these; export again"
    missing = [p for p in record["parts"] if not graph_path(graphs, p, precision).is_file()]
    return f"{ONNX_FOLDER}/ has no {precision} graph of {missing[0]}" if missing else None


def _unreadable_by_openvino(path: Path) -> str | None:
    """Its translator refuses some graphs that ONNX Runtime runs, such as the spectrum of log-mel encoders."""
    import openvino

    try:
        openvino.Core().read_model(path)
    except RuntimeError:
        return "OpenVINO cannot translate the audio graph"
    return None


def _without_bfloat16(device: str) -> str | None:
    if device == "cuda":
        return None if torch.cuda.is_bf16_supported() else "this GPU has no bfloat16"
    if device != "cpu":
        return f"not tried on {device}"
    has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return None if has else "this processor has neither AVX512-BF16 nor AMX, bfloat16 would be slower"
