"""A model folder as ONNX graphs that run without this package."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from multimodal_ser import __version__
from multimodal_ser.backends.files import FORMAT, PRECISIONS, RECORD, SCHEMA_VERSION, graph_path
from multimodal_ser.cache import hash_file, write_json
from multimodal_ser.errors import InputError
from multimodal_ser.export.card import write_card, write_example
from multimodal_ser.export.clips import Clip, noise, of_manifest
from multimodal_ser.export.graphs import join, write_parts
from multimodal_ser.export.parity import PARITY, check_exact, measure_parity
from multimodal_ser.export.precision import halve_weights, quantize
from multimodal_ser.inference import model_folder
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest
from multimodal_ser.models.ser import SerModel


def export_model(
    folder: str | os.PathLike,
    output: str | os.PathLike,
    precisions: Sequence[str] = ("fp32", "bf16"),
    manifest: Manifest | None = None,
    clips: int = 32,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the graphs of a model folder and return the parity report.

    manifest: real audio and words; `clips` utterances of it calibrate int8, as many others measure parity.
    """
    folder, output = model_folder(folder), Path(output)
    model = SerModel.from_pretrained(folder)
    hears = model.audio is not None
    _check(precisions, manifest, clips, hears)
    output.mkdir(parents=True, exist_ok=True)
    (output / RECORD).unlink(missing_ok=True)  # it comes last: a folder without it is not whole
    heard = noise(seed) if manifest is None else of_manifest(manifest, clips, seed, hears)
    parts = write_parts(SerModel.from_pretrained(folder), output)
    if "bf16" in precisions:
        for part in parts:
            halve_weights(graph_path(output, part, "fp32"), graph_path(output, part, "bf16"))
    if "int8" in precisions:
        quantize(output, parts, heard.calibration)
    made = [name for name in PRECISIONS if name == "fp32" or name in precisions]
    for precision in made:
        join(output, parts, precision)
    parity = _parity(model, output, made, heard.measuring, heard.source)
    record = _record(model, folder, parts, made)
    if model.text is not None:
        model.text.tokenizer.save_pretrained(output)
    write_card(output, record, parity)
    write_example(output, record)
    write_json(output / RECORD, record)
    return parity


def _check(precisions: Sequence[str], manifest: Manifest | None, clips: int, hears: bool) -> None:
    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise InputError(f"unknown precision '{unknown[0]}'; known: {', '.join(PRECISIONS)}")
    if "int8" in precisions and manifest is None and hears:
        raise InputError(
            "int8 needs real audio to find its ranges: give --manifest, such as that of training"
        )
    if clips < 1:
        raise InputError(f"clips = {clips}; at least 1 is needed to calibrate")


def _parity(model: SerModel, output: Path, made: list[str], clips: list[Clip], source: str) -> dict[str, Any]:
    with torch.inference_mode():
        report = {name: measure_parity(model, graph_path(output, "joined", name), clips) for name in made}
    parity = {"unit": "0-1", "clips": source, "precisions": report}
    write_json(output / PARITY, parity)
    check_exact(report["fp32"])
    return parity


def _record(model: SerModel, folder: Path, parts: Sequence[str], made: list[str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "multimodal_ser": __version__,
        "weights": hash_file(folder / "model.safetensors"),
        "dimensions": list(DIMENSIONS),
        "scale": "0-1",
        "classes": list(model.config.classes),
        "readings": list(model.readings),
        "sample_rate": None if model.audio is None else model.audio.sample_rate,
        "longest_text": None if model.text is None else model.text.window - 2,
        "parts": list(parts),
        "precisions": made,
    }
