"""Rows of a CSV, TSV, JSONL or Parquet file with every cell as text, whatever it looks like.

An id of 0012 keeps its zeros and the sentence "None" stays a sentence. An empty cell, null and a field that a
line does not have are None. A whole number that a format stores as a fraction (Parquet columns with gaps) is
written without the fraction.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.reading import read_text
from multimodal_ser.errors import InputError

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".parquet")
_JSON, _TABBED, _PARQUET = (".jsonl", ".ndjson"), (".tsv", ".tab"), ".parquet"
_DELIMITERS = "\t;,|"

Row = dict[str, str | None]


@dataclass
class TableFile:
    """A table as it stands in a file; line numbers count from 1."""

    columns: list[str]
    rows: list[tuple[int, Row]] = field(default_factory=list)
    broken: list[tuple[int, str]] = field(default_factory=list)  # line, what is wrong
    encoding: str = "utf-8-sig"  # with or without the mark


def read_table_file(path: Path, delimiter: str | None = None) -> TableFile:
    """Read a table in the format that its suffix says; the delimiter is found in the header if not given."""
    suffix = path.suffix.lower()
    delimiter = "\t" if delimiter in ("\\t", "tab") else delimiter
    if delimiter is not None and len(delimiter) != 1:
        raise InputError(f"--delimiter '{delimiter}': one character, or tab")
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: not a table that can be read; suffixes known: {', '.join(SUFFIXES)}")
    if suffix == _PARQUET:
        table = _read_parquet(path)
    else:
        text, encoding = read_text(path)
        if suffix in _JSON:
            table = _read_json_lines(text)
        else:
            table = _read_delimited(path, text, delimiter or ("\t" if suffix in _TABBED else None))
        table.encoding = encoding
    if not table.rows and not table.broken:
        raise InputError(f"{path}: the table has no rows")
    return table


def _read_delimited(path: Path, text: str, delimiter: str | None) -> TableFile:
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    header_line = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = delimiter or max(_DELIMITERS, key=header_line.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    table = TableFile([])
    try:
        for cells in lines:
            if not any(cell.strip() for cell in cells):
                continue
            if not table.columns:
                table.columns = _checked_header(path, cells)
            elif len(cells) > len(table.columns):
                table.broken.append(
                    (
                        lines.line_num,
                        f"{len(cells)} cells under {len(table.columns)} columns; is a quote missing?",
                    )
                )
            else:
                table.rows.append((lines.line_num, _row(table.columns, cells)))
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: not a delimited table ({error})") from None
    return table


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise InputError(f"{path}: two columns are called '{repeated[0]}'; names must differ")
    return names


def _row(columns: list[str], cells: list[str]) -> Row:
    padded = cells + [""] * (len(columns) - len(cells))
    return {name: cell if cell.strip() else None for name, cell in zip(columns, padded, strict=True)}


def _read_json_lines(text: str) -> TableFile:
    table = TableFile([])
    names: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            table.broken.append((number, f"not JSON ({error.msg} at column {error.colno})"))
            continue
        if not isinstance(record, dict):
            table.broken.append((number, "not a JSON object"))
            continue
        names |= dict.fromkeys(record)
        table.rows.append((number, {name: _as_text(value) for name, value in record.items()}))
    table.columns = list(names)
    return table


def _read_parquet(path: Path) -> TableFile:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise InputError(
            f"{path}: reading Parquet needs pyarrow; install it with `pip install pyarrow`"
        ) from None
    try:
        content = parquet.read_table(path)
    except ArrowInvalid as error:
        raise InputError(f"{path}: not a Parquet file ({error})") from None
    rows = enumerate(_records(content), start=1)
    return TableFile(content.column_names, [(number, row) for number, row in rows])


def _records(content: Any) -> Iterator[Row]:
    for batch in content.to_batches():
        for record in batch.to_pylist():
            yield {name: _as_text(value) for name, value in record.items()}


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)
