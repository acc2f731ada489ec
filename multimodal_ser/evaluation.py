"""How good a model is on a set, with everything a reader needs to compare it.

For each set and dimension: CCC, Pearson and RMSE of every reading (fused, audio only, text only) with 95
% intervals over speakers, the spread of predictions against that of labels, the fused reading against
each single one on the same resampled speakers, the measured coverage of the conformal intervals,
subgroups, and the protocol. Values are in unit scale; nothing is clipped.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_ser import metrics
from multimodal_ser.cache import write_json, write_text
from multimodal_ser.data import Examples
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE
from multimodal_ser.manifests import Manifest, Utterance

SCHEMA_VERSION = 1
CCC_FORMULA = "2 cov / (var + var + (mean - mean)^2), population variance, pooled over the set, unclipped"
SMALLEST_GROUP = 10  # labelled utterances below which a subgroup has no figure
TRANSCRIPTS = ("as given", "empty", "shuffled")

Measure = Callable[[np.ndarray], np.ndarray]
_MEASURES: dict[str, Measure] = {
    "ccc": metrics.ccc_of,
    "pearson": metrics.pearson_of,
    "rmse": metrics.rmse_of,
}


def evaluate(
    predictor: Predictor,
    manifest: Manifest,
    splits: Sequence[str],
    output: str | os.PathLike,
    transcripts: Sequence[str] = ("as given",),
    seen_speakers: frozenset[str] = frozenset(),
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a model on splits of a manifest; writes `metrics.json` and the predictions into `output`."""
    output = Path(output)
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "model": predictor.name,
        "scale": "0-1",
        "sets": {},
    }
    for name in splits:
        part = manifest.split(name)
        measured: dict[str, Any] = {"protocol": protocol(part, name)}
        examples = predictor.examples(part, cache)
        for kind in transcripts:
            table = predictor.predict(_with_transcripts(examples, kind, seed))
            found = measure(table, part.utterances, predictor, seen_speakers, seed)
            measured.update(found if kind == "as given" else {f"transcripts_{kind}": found["readings"]})
            if kind == "as given":
                write_predictions(output, name, table, part.utterances)
        report["sets"][name] = measured
    write_json(output / "metrics.json", _without_nan(report))
    return report


def measure(
    table: pd.DataFrame,
    utterances: Sequence[Utterance],
    predictor: Predictor,
    seen_speakers: frozenset[str] = frozenset(),
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of one set from its predictions."""
    readings = predictor.model.readings
    speakers = [u.speaker for u in utterances]
    labels = {name: _labels(utterances, name) for name in DIMENSIONS}
    said = {
        reading: {name: _said(table, reading, readings[0], name) for name in DIMENSIONS}
        for reading in readings
    }
    found: dict[str, Any] = {"readings": {}, "differences": {}, "subgroups": {}}
    for reading in readings:
        found["readings"][reading] = {
            name: _figures(said[reading][name], labels[name], speakers, seed) for name in DIMENSIONS
        }
    for other in readings[1:]:
        found["differences"][f"{readings[0]} - {other}"] = {
            name: _difference(said[readings[0]][name], said[other][name], labels[name], speakers, seed)
            for name in DIMENSIONS
        }
    for group, members in subgroups(utterances, seen_speakers).items():
        found["subgroups"][group] = {
            name: _group_figures(said[readings[0]][name][members], labels[name][members])
            for name in DIMENSIONS
        }
    if predictor.calibration is not None:
        found["intervals"] = _coverage(table, labels, predictor.calibration["coverage"])
    if predictor.model.config.classes:
        found["classes"] = _class_figures(table, utterances, predictor.model.config.classes)
    return found


def protocol(manifest: Manifest, split: str) -> dict[str, Any]:
    """What stands beside every number of a set."""
    utterances = manifest.utterances
    return {
        "corpus": manifest.header.corpus,
        "version": manifest.header.version,
        "set": split,
        "utterances": len(utterances),
        "speakers": len({u.speaker for u in utterances} - {None}),
        "without_speaker": sum(u.speaker is None for u in utterances),
        "selection": "best mean CCC on development data; nothing chosen on this set",
        "ccc": CCC_FORMULA,
        "intervals": f"{metrics.CONFIDENCE:.0%}, {metrics.RESAMPLES} resamples of speakers",
        "transcripts": sorted({u.text_source or "none" for u in utterances}),
        "labels": sorted({u.label_source or "unknown" for u in utterances}),
    }


def subgroups(utterances: Sequence[Utterance], seen_speakers: frozenset[str]) -> dict[str, np.ndarray]:
    """Named groups of a set as boolean masks: gender, length quartile, transcript source, seen speakers."""
    groups: dict[str, np.ndarray] = {}

    def add(kind: str, values: Sequence[Any]) -> None:
        for value in sorted({v for v in values if v is not None}, key=str):
            groups[f"{kind}: {value}"] = np.array([v == value for v in values])

    add("gender", [u.gender for u in utterances])
    add("transcript", [u.text_source for u in utterances])
    if seen_speakers:
        known = [None if u.speaker is None else u.speaker in seen_speakers for u in utterances]
        add("speaker", [None if k is None else ("in training" if k else "new") for k in known])
    lengths = np.array([len((u.text or "").split()) for u in utterances])
    if len(utterances) >= 4 * SMALLEST_GROUP and lengths.max() > 0:
        quartile = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths, side="left")
        add("words", [f"quartile {q + 1}" for q in quartile])
    return groups


def write_predictions(output: Path, name: str, table: pd.DataFrame, utterances: Sequence[Utterance]) -> None:
    """`predictions_<set>.csv` with labels beside predictions, and the MSP challenge's file on its scale."""
    facts = pd.DataFrame(
        {
            "speaker": [u.speaker for u in utterances],
            "text_source": [u.text_source for u in utterances],
            **{f"label_{d}": _labels(utterances, d) for d in DIMENSIONS},
        }
    )
    whole = pd.concat([table, facts], axis=1)
    write_text(output / f"predictions_{name}.csv", whole.to_csv(index=False, lineterminator="\n"))
    if utterances[0].corpus == "msp-podcast":
        write_text(output / f"challenge_{name}.csv", challenge_table(table))


def challenge_table(table: pd.DataFrame) -> str:
    """The MSP challenge's format: 1..7, clipped to it, as the challenge wants."""
    columns = {"FileName": [f"{name}.wav" if not name.endswith(".wav") else name for name in table["id"]]}
    for column, dimension in zip(("EmoAct", "EmoVal", "EmoDom"), DIMENSIONS, strict=True):
        columns[column] = np.clip(MSP_SCALE.from_unit(table[dimension].to_numpy()), 1, 7).round(6)
    return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")


def table(readings: dict[str, Any], protocol: dict[str, Any]) -> str:
    """CCC with intervals, a row per reading."""
    width = 22
    lines = [
        f"CCC on {protocol['utterances']} utterances of {protocol['speakers']} held-out speakers "
        f"({protocol['intervals']})",
        "",
        f"{'':8}" + "".join(f"{name:>{width}}" for name in DIMENSIONS),
    ]
    for reading in readings:
        cells = []
        for name in DIMENSIONS:
            ccc = readings[reading][name]["ccc"]
            cells.append(f"{ccc['value']:.2f} [{ccc['low']:.2f}, {ccc['high']:.2f}]")
        lines.append(f"{reading:8}" + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(lines)


def _with_transcripts(examples: Examples, kind: str, seed: int) -> Examples:
    """The same utterances with their own transcripts, none, or somebody else's."""
    if kind not in TRANSCRIPTS:
        raise InputError(f"unknown transcripts '{kind}'; known: {', '.join(TRANSCRIPTS)}")
    if kind == "as given":
        return examples
    texts = [u.text for u in examples.utterances]
    if kind == "empty":
        texts = [""] * len(texts)
    else:
        texts = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
    changed = [replace(u, text=text) for u, text in zip(examples.utterances, texts, strict=True)]
    return examples.with_utterances(changed)


def _labels(utterances: Sequence[Utterance], dimension: str) -> np.ndarray:
    values = (getattr(u, dimension) for u in utterances)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _said(table: pd.DataFrame, reading: str, first: str, dimension: str) -> np.ndarray:
    name = dimension if reading == first else f"{reading}_{dimension}"
    return table[name].to_numpy(dtype=np.float64)


def _figures(
    said: np.ndarray, labels: np.ndarray, speakers: Sequence[str | None], seed: int
) -> dict[str, Any]:
    labelled = ~np.isnan(labels)
    who = [s for s, keep in zip(speakers, labelled, strict=True) if keep]
    x, y = said[labelled], labels[labelled]
    if not labelled.any():
        return {"utterances": 0}
    return {
        "utterances": int(labelled.sum()),
        **{name: asdict(metrics.bootstrap(of, x, y, who, seed)) for name, of in _MEASURES.items()},
        "mean": float(x.mean()),
        "spread": float(x.std()),
        "label_mean": float(y.mean()),
        "label_spread": float(y.std()),
    }


def _difference(
    said: np.ndarray, other: np.ndarray, labels: np.ndarray, speakers: Sequence[str | None], seed: int
) -> dict[str, Any]:
    labelled = ~np.isnan(labels)
    who = [s for s, keep in zip(speakers, labelled, strict=True) if keep]
    return {
        "ccc": asdict(
            metrics.bootstrap_difference(
                metrics.ccc_of, said[labelled], other[labelled], labels[labelled], who, seed
            )
        )
    }


def _group_figures(said: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    labelled = ~np.isnan(labels)
    count = int(labelled.sum())
    if count < SMALLEST_GROUP:
        return {"utterances": count}
    return {"utterances": count, "ccc": metrics.ccc(said[labelled], labels[labelled])}


def _coverage(table: pd.DataFrame, labels: dict[str, np.ndarray], promised: float) -> dict[str, Any]:
    """How often the label lies inside its interval."""
    found: dict[str, Any] = {"promised": promised}
    for name in DIMENSIONS:
        labelled = ~np.isnan(labels[name])
        low, high = (table[f"{name}_{end}"].to_numpy()[labelled] for end in ("low", "high"))
        inside = (low <= labels[name][labelled]) & (labels[name][labelled] <= high)
        is_known = labelled.any() and not np.isnan(low).any()
        found[name] = {
            "covered": float(inside.mean()) if is_known else float("nan"),
            "width": float((high - low).mean()) if is_known else float("nan"),
        }
    return found


def _class_figures(
    table: pd.DataFrame, utterances: Sequence[Utterance], classes: Sequence[str]
) -> dict[str, Any]:
    labelled = np.array([u.emotion in classes for u in utterances])
    shares = table[[f"share_{name}" for name in classes]].to_numpy()[labelled]
    said = [classes[i] for i in shares.argmax(1)] if labelled.any() else []
    labels = [u.emotion for u in utterances if u.emotion in classes]
    counts = metrics.confusion(said, labels, classes)
    return {
        "utterances": len(labels),
        "classes": list(classes),
        "weighted_accuracy": metrics.weighted_accuracy(counts),
        "unweighted_accuracy": metrics.unweighted_accuracy(counts),
        "weighted_f1": metrics.weighted_f1(counts),
        "confusion": counts.tolist(),
    }


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what is undefined is null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
