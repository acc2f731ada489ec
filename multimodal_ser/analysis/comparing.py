"""Layer reports side by side: encoders, languages, corpora, or before and after fine-tuning.

Everything comes from the results files. Of a curve they hold values and intervals, not draws; so the interval
of a difference is put together from the two intervals as if the samples were independent: low = d -
sqrt((a - a_low)^2 + (b_high - b)^2), and high the other way round. Where both were measured on the same
speakers that is too wide, never too narrow as long as what is good for one is good for the other.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multimodal_ser.analysis.figures import draw_all, overlay_figure, short
from multimodal_ser.analysis.page import RESULTS, read_results
from multimodal_ser.cache import write_json, write_text
from multimodal_ser.errors import InputError
from multimodal_ser.report import embedded, fill, number

SCHEMA_VERSION = 1
COMPARISON, PAGE = "comparison.json", "comparison.html"
MEASURE = "probes"  # has an interval everywhere, and a unit that reports share
RULE = (
    "A dimension lies deeper, or can be read better, in the second if the interval of the difference lies "
    "above zero; less if it lies below; otherwise the difference is open."
)


def compare(paths: Sequence[str | os.PathLike], output: str | os.PathLike | None = None) -> dict[str, Any]:
    """Put the encoders of several reports next to the first, and write a page if there is a folder for it."""
    entries = _entries([Path(path) for path in paths])
    if len(entries) < 2:
        raise InputError(
            f"only one encoder in {', '.join(map(str, paths))}: nothing to compare it with. Give two results "
            "files, or one that measured several encoders"
        )
    first, *others = entries
    compared = {
        "schema_version": SCHEMA_VERSION,
        "measure": MEASURE,
        "rule": RULE,
        "entries": {label: _described(results, found) for label, (results, found) in entries.items()},
        "against": first,
        "differences": {label: _differences(entries[first][1], entries[label][1]) for label in others},
        "cautions": _cautions(entries),
    }
    if output is not None:
        folder = Path(output)
        write_json(folder / COMPARISON, compared)
        figures = {"probes": lambda: overlay_figure({k: f for k, (_, f) in entries.items()})}
        if all("gain" in found["measures"] for _, found in entries.values()):
            figures["gain"] = lambda: overlay_figure({k: f for k, (_, f) in entries.items()}, "gain")
        drawn = {kind: embedded(path) for kind, path in draw_all(figures, folder / "figures").items()}
        write_text(folder / PAGE, fill("layers_comparison.html", compared=compared, figures=drawn))
    return compared


def table(compared: dict[str, Any]) -> str:
    """The comparison as text."""
    lines = []
    for label, one in compared["entries"].items():
        lines.append(f"{label}: {one['layers']} layers, {one['utterances']:,} utterances, {one['corpus']}")
        for name, place in one["dimensions"].items():
            lines.append(
                f"  {name:9}  best layer {place['best_layer']:>2}  CCC {_shown(place['score'])}  "
                f"centre of mass {_shown(place['centre'])}"
            )
    for label, dimensions in compared["differences"].items():
        lines += ["", f"{label} against {compared['against']}:"]
        for name, found in dimensions.items():
            said = {kind: f"{one['verdict']} ({_shown(one['difference'])}" for kind, one in found.items()}
            lines.append(f"  {name:9}  {said['depth']} of the depth), {said['score']} CCC)")
    lines += ["", *(f"caution: {caution}" for caution in compared["cautions"])]
    return "\n".join(lines).rstrip()


def _entries(paths: Sequence[Path]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Every encoder of every report, under a name of its own."""
    found = [
        (path, name, results, one)
        for path in paths
        for results in (read_results(path),)
        for name, one in results["encoders"].items()
    ]
    labels = [short(name) for _, name, _, _ in found]
    if len(set(labels)) < len(labels):
        labels = [f"{label}, {item[2]['corpus']}" for label, item in zip(labels, found, strict=True)]
    if len(set(labels)) < len(labels):
        folders = [(item[0].parent if item[0].name == RESULTS else item[0]).name for item in found]
        labels = [f"{label} ({folder})" for label, folder in zip(labels, folders, strict=True)]
    if len(set(labels)) < len(labels):
        labels = [f"{label} [{n}]" for n, label in enumerate(labels, 1)]
    return {label: (item[2], item[3]) for label, item in zip(labels, found, strict=True)}


def _described(results: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    places = found["places"][MEASURE]
    return {
        "corpus": results["corpus"],
        "corpus_version": results["corpus_version"],
        "label_source": results["label_source"],
        "kind": found["kind"],
        "weights": found["weights"],
        "layers": found["layers"],
        "utterances": found["utterances"],
        "speakers": found["speakers"],
        "dimensions": {
            name: {
                "best_layer": places[name]["best_layer"],
                "score": places[name]["best_score"],
                "centre": places[name]["centre"],
            }
            for name in found["dimensions"]
        },
        "conclusions": {one["claim"]: one["verdict"] for one in found["conclusions"]},
    }


def _differences(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    words = {"depth": ("centre", "lies deeper", "lies shallower"),
             "score": ("best_score", "can be read better", "can be read less")}  # fmt: skip
    return {
        name: {
            kind: _judged(first["places"][MEASURE][name][of], second["places"][MEASURE][name][of], more, less)
            for kind, (of, more, less) in words.items()
        }
        for name in first["dimensions"]
        if name in second["dimensions"]
    }


def _judged(first: list[float | None], second: list[float | None], more: str, less: str) -> dict[str, Any]:
    if None in (*first, *second):
        return {"difference": [None, None, None], "verdict": "open"}
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    d = b - a
    low, high = d - math.hypot(b - b_low, a_high - a), d + math.hypot(b_high - b, a - a_low)
    verdict = more if low > 0 else less if high < 0 else "open"
    return {"difference": [d, low, high], "verdict": verdict}


def _cautions(entries: dict[str, tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """What makes these reports differ besides the encoder."""
    cautions = []
    reports = [results for results, _ in entries.values()]
    for key, words in (
        ("corpus", "corpora"),
        ("corpus_version", "versions of the corpus"),
        ("label_source", "kinds of label"),
        ("pooling", "poolings"),
        ("splits", "sets"),
    ):
        values = {str(report.get(key)) for report in reports}
        if len(values) > 1:
            cautions.append(f"different {words}: {'; '.join(sorted(values))}")
    if len({found["utterances"] for _, found in entries.values()}) > 1:
        cautions.append("different numbers of utterances: more of them let a probe read more")
    return cautions


def _shown(triple: list[float | None]) -> str:
    value, low, high = (number(part) for part in triple)
    return f"{value} [{low}, {high}]"
