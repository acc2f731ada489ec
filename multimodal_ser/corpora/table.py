"""Your own table (CSV, TSV, JSONL or Parquet) with audio paths, text, or both, and labels of any range.

How to use it: one row per utterance. Columns are found by their names or the usual other spellings of them
(`ALIASES` in table_columns.py); `--column FIELD=NAME` says which column is meant, `--scale 1-9` what range
the ratings have (of one dimension only: `--scale valence=-3..3`), `--emotion WORD=CLASS` what the words for
emotions mean. The same can stand in a small YAML file given with `--mapping`:

    columns: {audio: clip, speaker: who, valence: pleasantness}
    scale: 1-9                      # or {arousal: 1-9, valence: -3..3}
    emotions: {rage: anger}
    audio_root: ../wav
    corpus: mine

Origin, licence and split are yours; a table without a split column can be split by speaker.

Rules:
- ids, speakers and words stay text as they are written: 0012 keeps its zeros, "None" is a sentence.
- Without an id column the id is the audio path without suffix, so that a/1.wav and b/1.wav differ, followed
  by the start time if several rows share a file.
- Audio paths are relative to `audio_root` (default: the table's folder, from which a relative one in the
  YAML file counts too) or absolute below it; backslashes become slashes.
- A rating outside the declared range is clamped and counted. If more than one in a hundred is outside, the
  range is wrong and nothing is written.
- An empty cell means "not known". Numbers may have a decimal comma.
"""

import argparse
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from multimodal_ser.corpora.reading import Reading, parse_shares, split_by_speaker
from multimodal_ser.corpora.table_columns import Mapping, emotion_classes, found_columns, mapping_of
from multimodal_ser.corpora.table_files import SUFFIXES, Row, TableFile, read_table_file
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, Scale
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import LABEL_SOURCES, Utterance

OUTSIDE_ALLOWED = 0.01  # share of ratings outside the declared range above which the range must be wrong
_NOT_KNOWN = {"", "na", "n/a", "nan", "null", "none", "unknown", "-", "?"}  # in columns other than text
_GENDERS = {"f": "female", "w": "female", "female": "female", "woman": "female",
            "m": "male", "male": "male", "man": "male", "other": "other", "o": "other"}  # fmt: skip
_SPLITS = {"training": "train", "trn": "train", "validation": "development", "valid": "development",
           "val": "development", "dev": "development", "devel": "development", "testing": "test",
           "eval": "test"}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say what the columns of the table mean."""
    add = parser.add_argument
    add("--mapping", type=Path, metavar="FILE.yaml", help="columns, scale, emotions and so on in a file")
    add("--column", action="append", metavar="FIELD=NAME", help="the column that means a field; repeatable")
    add(
        "--scale",
        action="append",
        metavar="LOW-HIGH",
        help="range of the ratings, or of one dimension: valence=-3..3; repeatable",
    )
    add(
        "--emotion",
        action="append",
        metavar="WORD=CLASS",
        help="what a word for an emotion means; repeatable",
    )
    add("--keep-column", action="append", metavar="NAME", help="keep this column as meta; repeatable")
    add("--audio-root", metavar="DIR", help="folder that audio paths start from (default: the table's)")
    add("--audio-suffix", metavar=".wav", help="put behind every audio path")
    add("--corpus-name", metavar="NAME", help="name of the corpus (default: the table's)")
    add("--licence", metavar="TEXT", help="licence of the data, kept in the manifest")
    add("--label-source", choices=LABEL_SOURCES, help="who says so (default: rated)")
    add("--delimiter", metavar="C", help="between cells of a CSV (default: the most frequent of tab ; , |)")
    add("--split-by-speaker", metavar="SHARES", help="train,development,test shares, such as 0.8,0.1,0.1")
    add("--split-seed", type=int, default=0, metavar="N", help="for --split-by-speaker")  # fmt: skip


def read(
    folder: Path,
    *,
    mapping: Path | None = None,
    column: Sequence[str] | None = None,
    scale: Sequence[str] | None = None,
    emotion: Sequence[str] | None = None,
    keep_column: Sequence[str] | None = None,
    audio_root: str | None = None,
    audio_suffix: str | None = None,
    corpus_name: str | None = None,
    licence: str | None = None,
    label_source: str | None = None,
    delimiter: str | None = None,
    split_by_speaker: str | None = None,
    split_seed: int = 0,
) -> Reading:
    """Read the table `folder`: a file, or a folder that holds one table."""
    path = _table_in(Path(folder))
    said = mapping_of(
        mapping, columns=column, scale=scale, emotions=emotion, meta=list(keep_column or ()),
        audio_root=audio_root and os.path.abspath(audio_root), audio_suffix=audio_suffix,
        corpus=corpus_name, licence=licence, label_source=label_source,
    )  # fmt: skip
    if split_by_speaker is not None:
        parse_shares(split_by_speaker)  # before the work, not after it
    table = read_table_file(path, delimiter)
    reading = _Rows(path, table, said).reading()
    if split_by_speaker is not None:
        reading.utterances = _split(reading.utterances, parse_shares(split_by_speaker), split_seed)
    return reading


_split = split_by_speaker  # the keyword of `read` hides it there


def _table_in(path: Path) -> Path:
    if path.is_dir():
        tables = sorted(item for item in path.iterdir() if item.suffix.lower() in SUFFIXES)
        if len(tables) != 1:
            names = ", ".join(item.name for item in tables) or "none"
            raise InputError(f"{path}: give the table itself; tables in this folder: {names}")
        return tables[0]
    if not path.is_file():
        raise InputError(f"no such table: {path}")
    return path


class _Rows:
    """The rows of one table on their way to utterances."""

    def __init__(self, path: Path, table: TableFile, mapping: Mapping) -> None:
        self.path, self.table, self.mapping = path, table, mapping
        self.columns = found_columns(table.columns, mapping, path.name)
        self.root = path.parent / mapping.audio_root if mapping.audio_root else path.parent
        self.corpus = mapping.corpus or path.stem
        self.result = Reading(
            Header(self.corpus, mapping.version, str(self.root), mapping.licence), scale=_only_scale(mapping)
        )
        words = {w for _, row in table.rows if (w := self._word(row, "emotion")) is not None}
        self.emotions = emotion_classes(sorted(words), mapping, path.name)
        self._outside: Counter[str] = Counter()
        self._rated: Counter[str] = Counter()

    def reading(self) -> Reading:
        """All rows read, ids made unique in meaning, and the declared ranges found plausible."""
        result = self.result
        for number, problem in self.table.broken:
            result.drop(f"line {number}", "row cannot be read", problem)
        audio = Counter(self._audio(row) for _, row in self.table.rows)
        for number, row in self.table.rows:
            name = self._audio(row)
            try:
                result.utterances.append(self._utterance(number, row, name, audio[name] > 1))
            except _Unusable as error:
                result.drop(
                    self._id(number, row, name, audio[name] > 1),
                    error.reason,
                    f"line {number}: {error.detail}",
                )
        self._check_ranges()
        if self.table.encoding != "utf-8-sig":
            result.notes.append(f"{self.path.name} was read as {self.table.encoding}, not UTF-8")
        used = ", ".join(f"{field} = {column}" for field, column in self.columns.items())
        unused = [
            c for c in self.table.columns if c not in self.columns.values() and c not in self.mapping.meta
        ]
        result.notes.append(f"columns: {used}" + (f"; not used: {', '.join(unused)}" if unused else ""))
        return result

    def _utterance(self, number: int, row: Row, audio: str | None, is_shared: bool) -> Utterance:
        text = self._cell(row, "text")
        if audio is None and text is None:
            raise _Unusable("neither audio nor text", "both cells are empty")
        identifier = self._id(number, row, audio, is_shared)
        start, end = self._number(row, "start"), self._number(row, "end")
        if (start or 0) < 0 or (end is not None and end <= (start or 0)):
            raise _Unusable("start and end make no sense", f"start = {start}, end = {end}")
        dimensions = {name: self._rating(identifier, row, name) for name in DIMENSIONS}
        word = self._word(row, "emotion")
        is_labelled = word is not None or any(value is not None for value in dimensions.values())
        return Utterance(
            id=identifier,
            corpus=self.corpus,
            audio=audio,
            start=start,
            end=end,
            speaker=self._word(row, "speaker"),
            gender=self._gender(identifier, row),
            split=self._split(row),
            fold=self._fold(row),
            text=text,
            text_source=None if text is None else "reference",
            emotion=None if word is None else self.emotions[word],
            **dimensions,
            label_source=self.mapping.label_source if is_labelled else None,
            meta={name: row.get(name) for name in self.mapping.meta} or None,
        )

    def _cell(self, row: Row, field: str) -> str | None:
        return row.get(self.columns[field]) if field in self.columns else None

    def _word(self, row: Row, field: str) -> str | None:
        value = (self._cell(row, field) or "").strip()
        return None if value.lower() in _NOT_KNOWN else value

    def _audio(self, row: Row) -> str | None:
        value = (self._cell(row, "audio") or "").strip()
        if not value:
            return None
        value = value.replace("\\", "/") + self.mapping.audio_suffix
        path = Path(value)
        if path.is_absolute() and path.is_relative_to(self.root.absolute()):
            return path.relative_to(self.root.absolute()).as_posix()
        return value.removeprefix("./")

    def _id(self, number: int, row: Row, audio: str | None, is_shared: bool) -> str:
        if (identifier := (self._cell(row, "id") or "").strip()) or audio is None:
            return identifier or f"{self.corpus}_{number:06d}"
        stem = audio.rpartition(".")[0] if "." in audio.rpartition("/")[2] else audio
        start = (self._cell(row, "start") or "").strip()
        return f"{stem}_{start or number}" if is_shared else stem

    def _number(self, row: Row, field: str) -> float | None:
        value = self._word(row, field)
        if value is None:
            return None
        if re.fullmatch(r"[-+]?\d+,\d+", value):
            value = value.replace(",", ".")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not abs(number) < float("inf"):
            raise _Unusable("not a number", f"{field} = '{value}'")
        return number

    def _rating(self, identifier: str, row: Row, name: str) -> float | None:
        value = self._number(row, name)
        if value is None:
            return None
        scale = self.mapping.scales[name]
        self._rated[name] += 1
        self._outside[name] += not scale.low <= value <= scale.high
        return self.result.unit(identifier, name, value, scale)

    def _gender(self, identifier: str, row: Row) -> str | None:
        word = self._word(row, "gender")
        if word is not None and word.lower() not in _GENDERS:
            self.result.flag(identifier, "gender not understood, left out", f"'{word}'")
        return _GENDERS.get((word or "").lower())

    def _split(self, row: Row) -> str | None:
        word = self._word(row, "split")
        if word is None:
            return None
        name = re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_")
        return _SPLITS.get(name, name) or None

    def _fold(self, row: Row) -> int | None:
        number = self._number(row, "fold")
        if number is not None and (number < 1 or number != int(number)):
            raise _Unusable("fold is not a whole number from 1", f"{number:g}")
        return None if number is None else int(number)

    def _check_ranges(self) -> None:
        for name, outside in self._outside.items():
            if outside <= max(1, OUTSIDE_ALLOWED * self._rated[name]):
                continue
            column = self.columns[name]
            cells = (_value_or_none(row.get(column)) for _, row in self.table.rows)
            values = [value for value in cells if value is not None]
            raise InputError(
                f"{self.path.name}: {outside} of {self._rated[name]} values of '{column}' lie outside the "
                f"declared range {self.mapping.scales[name]}: they run from {min(values):g} to "
                f"{max(values):g}. Declare the range that the raters had: --scale {name}=LOW-HIGH"
            )


class _Unusable(Exception):
    """A row that cannot become an utterance."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def _only_scale(mapping: Mapping) -> Scale | None:
    """The scale, if all dimensions have the same."""
    scales = set(mapping.scales.values())
    return scales.pop() if len(scales) == 1 else None


def _value_or_none(cell: str | None) -> float | None:
    try:
        value = float((cell or "").replace(",", "."))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
