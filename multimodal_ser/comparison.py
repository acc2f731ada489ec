"""One table over the runs of a recipe: how good each experiment is, how large, and against what.

Runs lie in RUNS/<experiment>/<variant>, where variants are seeds or folds. This reads what `train` and
`evaluate` wrote there (`parameters.json`, `evaluation/metrics.json`) and nothing else.
"""

import json
import os
import statistics
from pathlib import Path
from typing import Any

from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, nearest

SCHEMA_VERSION = 1
_CLASS_MEASURES = ("weighted_accuracy", "unweighted_accuracy", "weighted_f1")


def compare(runs: str | os.PathLike, reference: str | None = None) -> dict[str, Any]:
    """What the evaluated runs say, experiment by experiment and set by set; `reference` names an experiment.

    Several variants give mean and standard deviation over them; a single one gives its interval over
    speakers.
    """
    runs = Path(runs)
    found = {folder.name: _evaluated(folder) for folder in sorted(runs.glob("*")) if folder.is_dir()}
    found = {name: variants for name, variants in found.items() if variants}
    if not found:
        raise InputError(
            f"no evaluated run in {runs}; expected {runs}/EXPERIMENT/VARIANT/evaluation/metrics.json, "
            "as `evaluate` writes it"
        )
    if reference is not None and reference not in found:
        hint = nearest(reference, list(found))
        raise InputError(
            f"no evaluated run of the reference '{reference}'{hint}; there are {', '.join(found)}"
        )
    sets = sorted(
        {name for variants in found.values() for metrics, _ in variants.values() for name in metrics["sets"]}
    )
    large = None if reference is None else _trainable(found[reference])
    return {
        "schema_version": SCHEMA_VERSION,
        "reference": reference,
        "sets": {name: {e: _row(v, name, large) for e, v in found.items()} for name in sets},
    }


def table(comparison: dict[str, Any]) -> str:
    """The comparison as text, a block per set and a line per experiment."""
    lines = []
    for name, rows in comparison["sets"].items():
        measures = [
            m for m in (*DIMENSIONS, *_CLASS_MEASURES) if any(row["measures"].get(m) for row in rows.values())
        ]
        width = max(len("experiment"), *map(len, rows))
        heads = [f"{'CCC ' if m in DIMENSIONS else ''}{m.replace('_', ' ')}" for m in measures]
        lines.append(f"{name}: {_variants_in_words(rows)}")
        lines.append(
            "  ".join(
                [
                    f"{'experiment':{width}}",
                    *(f"{head:>20}" for head in heads),
                    f"{'trainable':>12}",
                    "of reference",
                ]
            )
        )
        for experiment, row in rows.items():
            cells = [f"{_cell(row['measures'].get(m)):>20}" for m in measures]
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.1%}"
            size = "" if row["trainable"] is None else f"{row['trainable'] / 1e6:.2f} M"
            lines.append("  ".join([f"{experiment:{width}}", *cells, f"{size:>12}", f"{ratio:>12}"]).rstrip())
        lines.append("")
    return "\n".join(lines)


def write(comparison: dict[str, Any], path: str | os.PathLike) -> None:
    """Keep a comparison as JSON."""
    write_json(path, comparison)


def _evaluated(folder: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """The variants of an experiment that have been evaluated: metrics and parameter counts."""
    variants = {}
    for path in sorted(folder.glob("*/evaluation/metrics.json")):
        counts = path.parents[1] / "parameters.json"
        variants[path.parents[1].name] = (
            _json(path),
            _json(counts) if counts.is_file() else None,
        )
    return variants


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: not JSON ({error.msg}, line {error.lineno}); run `evaluate` again"
        ) from None


def _row(variants: dict[str, Any], name: str, large: int | None) -> dict[str, Any]:
    values: dict[str, list[dict[str, float]]] = {}
    for metrics, _ in variants.values():
        measured = metrics["sets"].get(name)
        if measured is None:
            continue
        for measure, value in _measures(measured).items():
            values.setdefault(measure, []).append(value)
    trainable = _trainable(variants)
    return {
        "variants": sorted(variants),
        "measures": {measure: _summary(found) for measure, found in values.items()},
        "trainable": trainable,
        "ratio": trainable / large if trainable is not None and large else None,
    }


def _measures(measured: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The fullest reading's CCC and the class measures of one set."""
    found = {}
    readings = measured.get("readings") or {}
    first = next(iter(readings.values()), {})
    for dimension in DIMENSIONS:
        ccc = first.get(dimension, {}).get("ccc")
        if ccc and ccc["value"] is not None:
            found[dimension] = ccc
    for measure in _CLASS_MEASURES:
        value = (measured.get("classes") or {}).get(measure)
        if value is not None:
            found[measure] = value if isinstance(value, dict) else {"value": value}
    return found


def _summary(found: list[dict[str, float]]) -> dict[str, Any]:
    values = [value["value"] for value in found]
    if len(values) == 1:
        return {"variants": 1, **found[0]}
    return {"variants": len(values), "value": statistics.mean(values), "deviation": statistics.stdev(values)}


def _trainable(variants: dict[str, Any]) -> int | None:
    counts = [parameters["trainable"] for _, parameters in variants.values() if parameters is not None]
    return counts[0] if counts else None


def _cell(measure: dict[str, Any] | None) -> str:
    if measure is None:
        return "-"
    if "deviation" in measure:
        return f"{measure['value']:.3f} ± {measure['deviation']:.3f}"
    if measure.get("low") is not None and measure.get("high") is not None:
        return f"{measure['value']:.3f} [{measure['low']:.3f}, {measure['high']:.3f}]"
    return f"{measure['value']:.3f}"


def _variants_in_words(rows: dict[str, Any]) -> str:
    counts = {len(row["variants"]) for row in rows.values()}
    if counts == {1}:
        return "intervals of 95 % over speakers"
    return (
        f"mean ± standard deviation over {'-'.join(str(c) for c in sorted(counts))} variants (seeds or folds)"
    )
