"""Names in an export folder, and the record of what was exported.

A folder holds one graph per part and precision, `<part>.<precision>.onnx`, and `export.json`, which says
from which weights they were made.
"""

import json
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError

FORMAT = "multimodal_ser.export"
SCHEMA_VERSION = 1
RECORD = "export.json"
PARTS = ("audio", "text", "fusion", "joined")
PRECISIONS = ("fp32", "bf16", "int8")
ONNX_FOLDER = "onnx"  # of a model folder, where backends look for graphs


def graph_path(folder: Path, part: str, precision: str) -> Path:
    """The file of one graph."""
    return folder / f"{part}.{precision}.onnx"


def read_record(folder: Path) -> dict[str, Any]:
    """What `export` wrote about a folder."""
    path = folder / RECORD
    if not path.is_file():
        raise InputError(
            f"no exported model in {folder}: it holds no {RECORD}; `export MODEL -o DIR` writes it"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); the file is damaged") from None
    found = (record.get("format"), record.get("schema_version")) if isinstance(record, dict) else None
    if found != (FORMAT, SCHEMA_VERSION):
        raise InputError(
            f"{path}: format and version {found}; this version of multimodal_ser reads "
            f"{(FORMAT, SCHEMA_VERSION)}"
        )
    return record
