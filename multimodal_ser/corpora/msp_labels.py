"""The label files of the two MSP corpora, in their three spellings: csv, json, and text in blocks.

They are tried in that order, for the consensus on a clip and for the ratings behind it. Both layouts of
labels_detailed.csv are read, by their header: one column per field (1.6 and 2.0), or everything in
`EmoDetail` (1.7 to 1.12). MSP-IMPROV has only text in blocks. Bytes that are not UTF-8 are taken as
Windows-1252, line by line, and counted.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from multimodal_ser.corpora.msp_votes import Ratings, Units, add_line, add_vote, fields_of, stem_of
from multimodal_ser.corpora.reading import Reading, is_lfs_stub
from multimodal_ser.errors import InputError
from multimodal_ser.labels import Scale, nearest

_BLOCKS = "labels.txt"
_CONSENSUS = ("labels_consensus", "labels_concensus")  # the newer spelling first
_DETAILED = "labels_detailed"
_FILES = {_BLOCKS} | {name + suffix for name in (*_CONSENSUS, _DETAILED) for suffix in (".csv", ".json")}

_LABEL_COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom")
_SPEAKER_COLUMNS = ("SpkrID", "Gender", "Split_Set")
_WORKER_COLUMNS = ("WorkerID", "Workers")  # 2.0, 1.6
_VOTE_COLUMNS = ("EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom")
_DETAIL_COLUMN = "EmoDetail"

_BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """The consensus on one clip, as text; empty = not given."""

    file: str
    emotion: str = ""
    arousal: str = ""
    valence: str = ""
    dominance: str = ""
    speaker: str = ""
    gender: str = ""
    split: str = ""


class Block(NamedTuple):
    """One clip of a text in blocks: its own line, and the lines of its raters."""

    file: str
    emotion: str
    numbers: dict[str, str]  # by letter: A, V, D and N (naturalness)
    votes: list[str]


def label_files(folder: Path) -> dict[str, Path]:
    """The label files in `folder` by their names in lower case."""
    return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.name.lower() in _FILES}


def read_consensus(folder: Path, reading: Reading) -> list[Row]:
    """The consensus rows of a label folder."""
    files = label_files(folder)
    for suffix, read_rows in ((".csv", _consensus_csv), (".json", _consensus_json)):
        newer, older = (files.get(name + suffix) for name in _CONSENSUS)
        if newer and older:
            reading.notes.append(f"both {newer.name} and {older.name} are there; {newer.name} was read")
        if path := newer or older:
            return read_rows(path, reading)
    if path := files.get(_BLOCKS):
        reading.notes.append(f"labels were read from {path.name}, which names no speakers and no splits")
        return [
            Row(block.file, block.emotion, *(block.numbers.get(letter, "") for letter in "AVD"))
            for block in blocks(lines_of(path, reading), ".wav")
        ]
    present = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
    raise InputError(
        f"no label file in {folder}: expected labels_consensus.csv (labels_concensus.csv up to 1.9), "
        f"labels_consensus.json or labels.txt; found {present}. Is the archive unpacked to its end?"
    )


def read_ratings(folder: Path, reading: Reading, scale: Scale) -> Ratings:
    """What each rater said about each clip; nothing, with a note, if no file tells."""
    files = label_files(folder)
    units = Units(reading, scale)
    ratings: Ratings = {}
    if path := files.get(f"{_DETAILED}.csv"):
        _detailed_csv(path, ratings, units)
    elif path := files.get(f"{_DETAILED}.json"):
        _detailed_json(path, ratings, units)
    elif path := files.get(_BLOCKS):
        for block in blocks(lines_of(path, reading), ".wav"):
            for vote in block.votes:
                add_line(ratings, stem_of(block.file), vote, units)
    else:
        reading.notes.append(f"no {_DETAILED} file in {folder.name}: no ratings of single raters")
    return ratings


def blocks(lines: Iterable[str], suffix: str) -> Iterator[Block]:
    """Blocks parted by blank lines; a line that is neither a clip's nor, below one, a rater's is skipped."""
    block: Block | None = None
    for line in lines:
        fields, numbers = fields_of(line)
        starts = bool(fields) and fields[0].lower().endswith(suffix) and " " not in fields[0]
        if block is not None and (starts or not line.strip()):
            yield block
            block = None
        if starts:
            block = Block(fields[0], fields[1] if len(fields) > 1 else "", numbers, [])
        elif block is not None and numbers and len(fields) > 1:
            block.votes.append(line)
    if block is not None:
        yield block


def lines_of(path: Path, reading: Reading) -> Iterator[str]:
    """The lines of a text file, one at a time; those that are not UTF-8 are counted in a note."""
    if is_lfs_stub(path):
        raise InputError(f"{path}: a Git-LFS stub, not the file; run `git lfs pull` in the corpus folder")
    odd = 0
    with path.open("rb") as file:
        for data in file:
            try:
                yield data.removeprefix(_BOM).decode()
            except UnicodeDecodeError:
                odd += 1
                yield data.decode("cp1252", errors="replace")
    if odd:
        reading.notes.append(f"{path.name}: {odd} lines are not UTF-8 and were read as Windows-1252")


def _consensus_csv(path: Path, reading: Reading) -> list[Row]:
    header, lines = _table(path, reading)
    pick = _picker(path, header, _LABEL_COLUMNS, _SPEAKER_COLUMNS)
    absent = [name for name in _SPEAKER_COLUMNS if name.lower() not in header]
    if absent:
        reading.notes.append(f"{path.name} has no column {', '.join(absent)}")
    rows = []
    for number, values in lines:
        if len(values) < len(header) or not (row := Row(*pick([*values, ""]))).file.strip():
            reading.drop(f"line {number}", "incomplete line", f"{path.name}: {','.join(values)[:80]}")
        else:
            rows.append(row)
    return rows


def _consensus_json(path: Path, reading: Reading) -> list[Row]:
    rows = []
    for file, item in _json_object(path).items():
        if (record := _record(item)) is None:
            reading.drop(stem_of(file), "incomplete record", path.name)
        else:
            rows.append(Row(file, *(_text(record, name) for name in _LABEL_COLUMNS[1:] + _SPEAKER_COLUMNS)))
    return rows


def _detailed_csv(path: Path, ratings: Ratings, units: Units) -> None:
    header, lines = _table(path, units.reading)
    is_detail = _DETAIL_COLUMN.lower() in header
    worker = next((name for name in _WORKER_COLUMNS if name.lower() in header), _WORKER_COLUMNS[0])
    columns = ("FileName", _DETAIL_COLUMN) if is_detail else ("FileName", worker, *_VOTE_COLUMNS)
    pick = _picker(path, header, columns)
    for number, values in lines:
        if len(values) < len(header):
            units.reading.flag(
                f"line {number}", "rating not understood", f"{path.name}: {','.join(values)[:80]}"
            )
        elif is_detail:  # a comma in free text that nobody quoted makes more values than columns
            add_line(ratings, stem_of(values[0]), ",".join(values[1:]), units)
        else:
            file, *fields = pick(values)
            add_vote(ratings, stem_of(file), fields[:3], fields[3:], units)


def _detailed_json(path: Path, ratings: Ratings, units: Units) -> None:
    for file, workers in _json_object(path).items():
        for worker, item in (_record(workers) or {}).items():
            if (vote := _record(item)) is None:
                units.reading.flag(stem_of(file), "rating not understood", f"{path.name}: {worker}")
                continue
            primary, secondary, *numbers = (_text(vote, name) for name in _VOTE_COLUMNS)
            add_vote(ratings, stem_of(file), (worker, primary, secondary), numbers, units)


def _table(path: Path, reading: Reading) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header of a csv file in lower case, and its rows with their line numbers."""
    table = csv.reader(lines_of(path, reading))
    header = [name.strip().lower() for name in next(table, [])]

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            for values in table:
                if values:
                    yield table.line_num, values
        except csv.Error as error:
            raise InputError(
                f"{path}, line {table.line_num}: {error}; a quotation mark that is never closed, perhaps"
            ) from None

    return header, rows()


def _picker(path: Path, header: Sequence[str], required: Sequence[str], optional: Sequence[str] = ()):
    """A function that picks the named columns of a row; an absent optional column is the row's last value."""
    for name in required:
        if name.lower() not in header:
            raise InputError(
                f"{path}: no column '{name}'{nearest(name.lower(), list(header))}; "
                f"columns there: {', '.join(header) or 'none'}; needed: {', '.join(required)}"
            )
    return itemgetter(
        *(header.index(name.lower()) if name.lower() in header else -1 for name in (*required, *optional))
    )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); is the file complete?") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected an object keyed by file name, received a {type(content).__name__}"
        )
    return content


def _record(item: Any) -> dict[str, Any] | None:
    """An object, also where a list of one is wrapped around it."""
    if isinstance(item, list) and len(item) == 1:
        item = item[0]
    return item if isinstance(item, dict) else None


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else str(value)
