"""Tables as CSV that a person may open in a spreadsheet.

A spreadsheet takes a cell that begins with =, +, -, @, a tab or a carriage return for a formula and may run
it; names and sentences of a corpus are not ours, so such text gets an apostrophe before it. Numbers stay
numbers.
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

from multimodal_ser.cache import write_text

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
DIGITS = 7  # of a number with a fraction


def write_table(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV with Unix line ends, whole or not at all; None and NaN are empty cells."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([safe_cell(column) for column in columns])
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, buffer.getvalue())


def safe_cell(text: str) -> str:
    """`text`, with an apostrophe before it if a spreadsheet would take it for a formula."""
    return "'" + text if text.startswith(FORMULA_STARTS) else text


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return safe_cell(value)
    if isinstance(value, float):  # NumPy's float64 is one too
        return "" if math.isnan(value) else f"{value:.{DIGITS}g}"
    return value
