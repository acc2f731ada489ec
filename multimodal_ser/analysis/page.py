"""The page of a layer report, made from `results.json` alone: conclusions, rules, figures, tables."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_ser.analysis.conclusions import BEYOND
from multimodal_ser.analysis.figures import SHOWN, draw, short
from multimodal_ser.analysis.measuring import SCHEMA_VERSION
from multimodal_ser.cache import write_text
from multimodal_ser.errors import InputError
from multimodal_ser.report import embedded, fill

RESULTS, PAGE, FIGURES = "results.json", "report.html", "figures"
# Kind of figure: what it shows, under it and for those who cannot see it.
CAPTIONS = {
    "curves": "What each layer carries. Top: probes of single layers on unseen speakers, with what the "
    "controls give. Middle: layers 0 to k together. Bottom: what layer k adds to all shallower ones. Bands: "
    "95 % intervals over speakers.",
    "map": "Every measure on every layer, each row from its worst layer to its best (star). Rows that differ "
    "say that the measures disagree; the size of the effect is not in this figure.",
    "alike": "Why a layer may matter. Above: how alike it is to what is heard (the acoustic set) and to what "
    "is read (sentence embeddings, where there is text). Below: how much of speaker, gender and duration it "
    "tells. Bands: 95 % intervals over speakers, for the speaker probe over utterances.",
    "encoders": "CCC of the probe of each layer, for every encoder, on relative depth: 0 is the input of the "
    "first block, 1 the output of the last. Bands: 95 % intervals over speakers.",
}


def write_page(folder: str | os.PathLike) -> Path:
    """Draw the figures of a layer report and put everything on one page; returns its path."""
    folder = Path(folder)
    results = read_results(folder / RESULTS)
    drawn = {kind: embedded(path) for kind, path in draw(results, folder / FIGURES).items()}
    encoders = [
        {
            "name": name,
            "short": short(name),
            "found": found,
            "figures": {kind: drawn[f"{kind}_{n}"] for kind in CAPTIONS if f"{kind}_{n}" in drawn},
            "best": best_layers(found),
            "beyond": [one for one in found["conclusions"] if one["claim"].startswith(BEYOND)],
        }
        for n, (name, found) in enumerate(results["encoders"].items())
    ]
    path = folder / PAGE
    write_text(
        path,
        fill("layers.html", results=results, encoders=encoders, captions=CAPTIONS, shown=SHOWN,
             overlay=drawn.get("encoders")),
    )  # fmt: skip
    return path


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """What an earlier report found."""
    path = Path(path)
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"no such file: {path}; `multimodal-ser layers MANIFEST --encoder NAME -o DIR` writes one"
        )
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); the likely cause: a copy that was cut off") from None
    version = results.get("schema_version") if isinstance(results, dict) else None
    if version != SCHEMA_VERSION or "encoders" not in results:
        raise InputError(
            f"{path}: schema_version {version!r}; this version of multimodal_ser reads layer reports of "
            f"version {SCHEMA_VERSION}. The likely cause: a results file of another command or version"
        )
    return results


def best_layers(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each dimension and measure, the layer with the highest value, its number and its interval."""
    best: dict[str, dict[str, Any]] = {}
    for measure, curves in found["measures"].items():
        for name, curve in curves.items():
            known = [layer for layer, (value, *_) in enumerate(curve) if value is not None]
            if known:
                layer = max(known, key=lambda layer: curve[layer][0])
                value, low, high = curve[layer]
                best.setdefault(measure, {})[name] = {
                    "layer": layer,
                    "value": value,
                    "low": low,
                    "high": high,
                }
    return best
