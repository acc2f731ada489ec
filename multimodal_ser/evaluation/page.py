"""The page of an evaluation, made from its files alone: `metrics.json`, predictions and speakers."""

import json
import os
from pathlib import Path
from typing import Any

from multimodal_ser.cache import write_text
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation.figures import draw_set
from multimodal_ser.evaluation.predictions import SCHEMA_VERSION
from multimodal_ser.evaluation.sets import METRICS
from multimodal_ser.labels import DIMENSIONS, Scale
from multimodal_ser.report import embedded, fill

PAGE = "evaluation.html"
# Kind of figure: what it shows, under it and for those who cannot see it.
CAPTIONS = {
    "readings": "CCC of every reading of the model, and of its fullest reading with other transcripts. Bars: "
    "95 % intervals over speakers.",
    "scatter": "Predictions of the fullest reading against labels. Dashed: equal. A cloud flatter than the "
    "dashed line is a model that avoids extreme values.",
    "calibration": "Utterances in groups of equal size by their prediction: the mean label of each group. On "
    "the dashed line a prediction means what it says. Bars: 95 % intervals over speakers.",
    "speakers": "Above: each mark is a speaker, its size the number of utterances. On the dashed line a "
    "speaker's mean is right. Below: CCC within single speakers who have at least ten labelled utterances; "
    "dashed: median.",
    "intervals": "How often the interval of a single prediction holds the label, against what it promises "
    "(dashed). Below or left of the dashed line intervals are too narrow.",
    "subgroups": "CCC of the fullest reading in subgroups. A subgroup whose labels spread less has a lower "
    "CCC at the same error. Bars: 95 % intervals over speakers.",
}


def write_page(folder: str | os.PathLike, svg: bool = False) -> Path:
    """Draw the figures of an evaluation and put everything on one page; returns its path."""
    folder = Path(folder)
    report = _read(folder / METRICS)
    scale = Scale.parse(report["scale"])
    sets = []
    for name, measured in report["sets"].items():
        paths = draw_set(folder, name, measured, scale, svg)
        figures = {path.stem.removesuffix(f"_{name}"): embedded(path) for path in paths}
        sets.append({"name": name, "measured": measured, "figures": figures})
    path = folder / PAGE
    write_text(path, fill(PAGE, report=report, sets=sets, dimensions=DIMENSIONS, captions=CAPTIONS))
    return path


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"no such file: {path}; `multimodal-ser evaluate` writes one")
    report = json.loads(path.read_text(encoding="utf-8"))
    if report.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version {report.get('schema_version')!r}; this version of multimodal_ser reads "
            f"{SCHEMA_VERSION}"
        )
    return report
