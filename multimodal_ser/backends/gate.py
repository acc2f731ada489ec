"""The accuracy gate: a backend of reduced precision may be used once it was shown to cost nothing.

On labelled utterances the concordance (CCC) of every dimension and reading may fall by less than 0.005;
without labels the values may deviate by less than 0.01 in the mean, in unit scale. The result lies in the
model folder as `gate.json` and holds for these weights only.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_ser.cache import hash_unchanged, write_json
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.metrics import ccc
from multimodal_ser.models.ser import WEIGHTS
from multimodal_ser.utterances import Utterance

if TYPE_CHECKING:
    import pandas as pd

GATE = "gate.json"
FORMAT, SCHEMA_VERSION = "multimodal_ser.gate", 1
LARGEST_DROP = 0.005  # of CCC
LARGEST_DEVIATION = 0.01  # mean absolute, in unit scale
FEWEST = 20  # utterances that a verdict needs


def passed_gate(folder: Path, name: str) -> str | None:
    """Why the gate does not let a backend pass, or None; single precision needs none."""
    if name.endswith("-fp32"):
        return None
    how = "`bench MODEL --gate MANIFEST` measures it"
    path = folder / GATE
    if not path.is_file():
        return f"the model folder has no {GATE}; {how}"
    try:
        gate = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return f"{GATE} is damaged; {how}"
    if (gate.get("format"), gate.get("schema_version")) != (FORMAT, SCHEMA_VERSION):
        return f"{GATE} is of another version; {how}"
    if gate.get("weights") != hash_unchanged(folder / WEIGHTS):
        return f"{GATE} was made for other weights; {how}"
    verdict = gate["backends"].get(name)
    if verdict is None:
        return f"{GATE} does not know it; {how}"
    return None if verdict["passed"] is True else f"failed the accuracy gate: {verdict['why']}"


def judge(reference: "pd.DataFrame", found: "pd.DataFrame", utterances: list[Utterance]) -> dict[str, Any]:
    """The verdict on a table of predictions beside that of single precision."""
    if len(reference) < FEWEST:
        raise InputError(f"the gate was given {len(reference)} utterances; a verdict needs {FEWEST} or more")
    columns = [c for c in reference if c in DIMENSIONS or c.split("_")[-1] in DIMENSIONS]
    deviation = {c: float(np.abs(found[c] - reference[c]).mean()) for c in columns}
    drops, concordance = {}, {}
    for column in columns:
        labels = _labels(utterances, column.split("_")[-1])
        known = ~np.isnan(labels)
        if known.sum() >= FEWEST:
            before, after = (
                ccc(table[column].to_numpy()[known], labels[known]) for table in (reference, found)
            )
            concordance[column], drops[column] = float(before), float(before - after)
    # NaN passes no comparison: a backend that says NaN fails.
    bad = [f"CCC of {c} falls by {drop:.4f}" for c, drop in drops.items() if not drop < LARGEST_DROP]
    if not drops:
        bad = [f"{c} deviates by {d:.4f}" for c, d in deviation.items() if not d < LARGEST_DEVIATION]
    return {
        "passed": not bad,
        "why": "; ".join(bad)
        or f"{'no CCC falls' if drops else 'no value deviates'} by more than is allowed",
        "utterances": len(reference),
        "ccc": _finite(concordance),
        "ccc_drop": _finite(drops),
        "mean_absolute_deviation": _finite(deviation),
    }


def write_gate(folder: Path, verdicts: dict[str, Any], data: str) -> None:
    """Keep verdicts in the model folder, which names the weights that they hold for."""
    write_json(
        folder / GATE,
        {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "weights": hash_unchanged(folder / WEIGHTS),
            "data": data,
            "allowed": {"ccc_drop": LARGEST_DROP, "mean_absolute_deviation": LARGEST_DEVIATION},
            "backends": verdicts,
        },
    )


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _labels(utterances: list[Utterance], dimension: str) -> np.ndarray:
    values = [getattr(utterance, dimension) for utterance in utterances]
    return np.array([np.nan if value is None else value for value in values], dtype=float)
