"""Predictions as files: labels beside them, the speakers one by one, and the MSP challenge's format."""

from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_ser.csv_files import write_table
from multimodal_ser.evaluation.groups import speaker_rows
from multimodal_ser.evaluation.values import Values
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE, Scale

SCHEMA_VERSION = 1
CHALLENGE_COLUMNS = ("FileName", "EmoAct", "EmoVal", "EmoDom")


def write_predictions(path: Path, table: pd.DataFrame, values: Values, scale: Scale, model: str) -> None:
    """One row per utterance on `scale`, unclipped: readings, intervals, class shares, labels."""
    predicted = table.drop(columns="id").copy()
    for column in predicted.columns:
        if not column.startswith("share_"):
            predicted[column] = scale.from_unit(predicted[column].to_numpy(dtype=np.float64))
    columns = ["id", "speaker", "text_source", *predicted.columns, *(f"label_{d}" for d in DIMENSIONS)]
    columns += ["label_emotion", "scale", "model", "schema_version"]
    rows = (
        [u.id, u.speaker, u.text_source, *said, *labels, u.emotion, str(scale), model, SCHEMA_VERSION]
        for u, said, labels in zip(
            values.utterances, predicted.to_numpy().tolist(), values.labels.T.tolist(), strict=True
        )
    )
    write_table(path, columns, rows)


def write_speakers(path: Path, values: Values) -> None:
    """One row per speaker, for the figures and for reading."""
    write_table(path, *speaker_rows(values))


def write_challenge(path: Path, table: pd.DataFrame) -> None:
    """The MSP challenge's format: always 1..7 and clipped to it, as the challenge wants."""
    unit = table[list(DIMENSIONS)].to_numpy(dtype=np.float64)
    said = np.clip(MSP_SCALE.from_unit(unit), MSP_SCALE.low, MSP_SCALE.high)
    rows = ([_file_name(i), *row] for i, row in zip(table["id"], said.tolist(), strict=True))
    write_table(path, CHALLENGE_COLUMNS, rows)


def _file_name(identifier: str) -> str:
    return identifier if identifier.lower().endswith(".wav") else f"{identifier}.wav"
