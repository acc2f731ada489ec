"""Measure a model on the sets of a manifest; everything is computed here and lands in files.

`metrics.json` holds every figure, `predictions_<set>.csv` one row per utterance, `speakers_<set>.csv` one per
speaker, `challenge_<set>.csv` the predictions as the MSP challenge wants them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from multimodal_ser import __version__
from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import transcript_kinds
from multimodal_ser.evaluation.classes import class_figures
from multimodal_ser.evaluation.dimensions import calibration, reading_figures
from multimodal_ser.evaluation.groups import group_figures, subgroups
from multimodal_ser.evaluation.intervals import interval_figures
from multimodal_ser.evaluation.predictions import (
    SCHEMA_VERSION,
    write_challenge,
    write_predictions,
    write_speakers,
)
from multimodal_ser.evaluation.protocol import protocol
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.evaluation.values import Values
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS, UNIT, Scale
from multimodal_ser.manifests import Manifest
from multimodal_ser.utterances import Utterance

METRICS = "metrics.json"
CHALLENGE_CORPUS = "msp-podcast"


def splits_to_test(manifest: Manifest) -> list[str]:
    """The splits whose name begins with `test`; there must be one."""
    present = sorted({u.split for u in manifest.utterances if u.split is not None})
    if found := [name for name in present if name.startswith("test")]:
        return found
    has_folds = any(u.fold is not None for u in manifest.utterances)
    hint = (
        "this corpus is divided into folds: --fold N tests on one of them"
        if has_folds
        else "name one with --split"
    )
    raise InputError(
        f"no split of '{manifest.header.corpus}' has a name that begins with 'test'; {hint}; "
        f"splits in this manifest: {', '.join(present) or 'none'}"
    )


def evaluate(
    predictor: Predictor,
    manifest: Manifest,
    splits: Sequence[str],
    output: str | os.PathLike,
    transcripts: Sequence[str] = (transcript_kinds.GIVEN,),
    training: TrainingData | None = None,
    scale: Scale = UNIT,
    challenge: bool = False,
    cache: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a model on splits of a manifest; `challenge` writes that format for any corpus."""
    output = Path(output)
    parts = {name: manifest.split(name) for name in dict.fromkeys(splits)}
    reads_words = predictor.model.readings != ("audio",)
    kinds = {}
    for name, part in parts.items():
        _check_fit(predictor, part, name)
        can_compare = reads_words and _has_labels(part.utterances, predictor.model.config.classes)
        kinds[name] = transcript_kinds.kinds_of(part.utterances, transcripts if can_compare else ())
    examples = {name: predictor.examples(part, cache) for name, part in parts.items()}
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "multimodal_ser": __version__,
        "model": predictor.name,
        "readings": list(predictor.model.readings),
        "dimensions": list(DIMENSIONS),
        "scale": str(scale),
        "seed": seed,
        "sets": {},
    }
    with tqdm(total=sum(map(len, kinds.values())), desc="evaluate", unit="pass", leave=False) as progress:
        for name, part in parts.items():
            tables = {}
            for kind in kinds[name]:
                progress.set_postfix_str(f"{name}, transcripts {kind}")
                chosen = transcript_kinds.transcripts(part.utterances, kind, seed)
                tables[kind] = predictor.predict(transcript_kinds.with_transcripts(examples[name], chosen))
                progress.update()
            seconds = examples[name].sound_seconds
            stated = protocol(manifest.header, part.utterances, name, scale, seconds, training)
            found = measure(
                tables[transcript_kinds.GIVEN], part.utterances, predictor, training, scale, seconds, seed
            )
            found["transcripts"] = _other_transcripts(tables, part.utterances, predictor, scale, seed)
            report["sets"][name] = {"protocol": stated, **found}
            is_challenge = challenge or part.utterances[0].corpus == CHALLENGE_CORPUS
            _write(output, name, tables[transcript_kinds.GIVEN], part, predictor, scale, is_challenge)
    report = _without_nan(report)
    write_json(output / METRICS, report)
    return report


def measure(
    table: pd.DataFrame,
    utterances: Sequence[Utterance],
    predictor: Predictor,
    training: TrainingData | None = None,
    scale: Scale = UNIT,
    seconds: Sequence[float] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of one set from its predictions in unit scale; RMSE, means and spreads are on `scale`."""
    values = Values.of(table, utterances, _informed_readings(predictor, utterances), scale)
    groups = subgroups(utterances, seconds, training)
    found = {
        "undefined_predictions": int(np.isnan(values.said).any(axis=(0, 1)).sum()),
        **reading_figures(values, seed),
        "calibration": calibration(values, seed),
        "subgroups": group_figures(values, groups, seed) if values.is_labelled.any() else {},
    }
    if predictor.calibration is not None and values.is_labelled.any():
        found["intervals"] = interval_figures(values, predictor.calibration, scale, seed)
    if classes := predictor.model.config.classes:
        found["classes"] = class_figures(table, utterances, classes, seed)
    return found


def _informed_readings(predictor: Predictor, utterances: Sequence[Utterance]) -> tuple[str, ...]:
    """The fullest reading, and of the others those that have something to hear or to read in this set."""
    first, *others = predictor.model.readings
    is_there = {
        "audio": any(u.audio is not None for u in utterances),
        "text": any(u.text is not None for u in utterances),
    }
    return (first, *(reading for reading in others if is_there[reading]))


def _has_labels(utterances: Sequence[Utterance], classes: Sequence[str]) -> bool:
    return any(u.emotion in classes or any(getattr(u, d) is not None for d in DIMENSIONS) for u in utterances)


def _check_fit(predictor: Predictor, part: Manifest, name: str) -> None:
    """A model needs what it reads: sound, words, or at least one of them."""
    readings = predictor.model.readings
    if readings == ("audio",) and all(u.audio is None for u in part.utterances):
        raise InputError(
            f"set '{name}' of '{part.header.corpus}' is text only, and this model only hears: "
            "it has no text branch"
        )
    if readings == ("text",) and all(u.text is None for u in part.utterances):
        raise InputError(
            f"no utterance of set '{name}' has a transcript, and this model only reads; "
            "`multimodal-ser transcribe` makes transcripts"
        )


def _other_transcripts(
    tables: dict[str, pd.DataFrame],
    utterances: Sequence[Utterance],
    predictor: Predictor,
    scale: Scale,
    seed: int,
) -> dict[str, Any]:
    given = tables[transcript_kinds.GIVEN]
    return {
        kind: transcript_kinds.kind_figures(
            given,
            table,
            transcript_kinds.transcripts(utterances, kind, seed),
            kind,
            utterances,
            predictor.model.readings,
            predictor.model.config.classes,
            scale,
            seed,
        )
        for kind, table in tables.items()
        if kind != transcript_kinds.GIVEN
    }


def _write(
    output: Path,
    name: str,
    table: pd.DataFrame,
    part: Manifest,
    predictor: Predictor,
    scale: Scale,
    is_challenge: bool,
) -> None:
    values = Values.of(table, part.utterances, predictor.model.readings, scale)
    write_predictions(output / f"predictions_{name}.csv", table, values, scale, predictor.name)
    write_speakers(output / f"speakers_{name}.csv", values)
    if is_challenge:
        write_challenge(output / f"challenge_{name}.csv", table)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what is undefined is null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
