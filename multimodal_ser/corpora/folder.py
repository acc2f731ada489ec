r"""Any tree of audio files as a manifest without labels, for pretraining.

LibriSpeech, LSSED, recordings of your own: speaker, words and more come from the paths, by a regular
expression with named groups, or from files that lie beside the audio.

- `--pattern '(?P<speaker>[^/]+)/[^/]+$'` reads the speaker from the last folder. It is searched for in the
  path below the folder, written with slashes. Groups named speaker, gender, split and text go to those
  fields, all other named groups to `meta`.
- `--side-file FILE` is a table (CSV, TSV, JSONL, Parquet) with a column of file names or stems and any of
  speaker, gender, split, text.
- `--transcripts '*.trans.txt'` are text files whose lines hold a stem, a blank and the words spoken.
- `--text-suffix .txt` takes the words from a file beside each audio file.

LibriSpeech, whose paths are train-clean-100/103/1240/103-1240-0000.flac and whose words stand in
103-1240.trans.txt beside them, is therefore

    multimodal-ser prepare folder LibriSpeech -o DIR --transcripts '*.trans.txt' \
        --pattern '(?P<subset>[^/]+)/(?P<speaker>\d+)/(?P<chapter>\d+)/[^/]+$'

The id is the path without suffix, so that a/1.wav and b/1.wav differ. Without a split of their own,
utterances are split by speaker, seeded: 90, 5 and 5 % unless `--split-by-speaker` says otherwise; a corpus of
fewer than three known speakers stays unsplit. Hours per speaker are in prepare.json. Origin and licence are
yours.

Traps: hidden files; upper-case suffixes; one stem with two suffixes (both are kept, flagged); names that are
not UTF-8 (listed as dropped); transcripts in Windows-1252 (read, flagged).
"""

import argparse
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from multimodal_ser.corpora.reading import (
    Reading,
    checked_folder,
    natural,
    parse_shares,
    read_text,
    split_by_speaker,
)
from multimodal_ser.corpora.table_columns import Mapping, found_columns
from multimodal_ser.corpora.table_files import read_table_file
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import GENDERS, Utterance

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".mp4", ".aac", ".webm", ".mkv", ".aif",
                  ".aiff", ".au", ".sph", ".wma")  # fmt: skip
DEFAULT_SHARES = "0.9,0.05,0.05"
_FIELDS = ("speaker", "gender", "split", "text")  # what paths and side files may say
_GENDERS = {"f": "female", "m": "male", "o": "other"}

Facts = dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say where speaker and words stand."""
    add = parser.add_argument
    add("--pattern", metavar="REGEX", help="named groups in the path: speaker, gender, split, text, others")
    add(
        "--side-file",
        type=Path,
        metavar="FILE",
        help="table of file or stem, and speaker, gender, split, text",
    )
    add("--transcripts", metavar="GLOB", help="files with lines of stem and words, such as '*.trans.txt'")
    add("--text-suffix", metavar=".txt", help="the words stand in a file with this suffix beside the audio")
    add("--corpus-name", metavar="NAME", help="name of the corpus (default: the folder's)")
    add("--licence", metavar="TEXT", help="licence of the data, kept in the manifest")
    add(
        "--split-by-speaker",
        metavar="SHARES",
        help=f"train,development,test shares (default: {DEFAULT_SHARES} if there are speakers and no split)",
    )
    add("--split-seed", type=int, default=0, metavar="N", help="another seed is another split")  # fmt: skip


def read(
    folder: Path,
    *,
    pattern: str | None = None,
    side_file: Path | None = None,
    transcripts: str | None = None,
    text_suffix: str | None = None,
    corpus_name: str | None = None,
    licence: str | None = None,
    split_by_speaker: str | None = None,
    split_seed: int = 0,
) -> Reading:
    """Read every audio file below `folder`."""
    folder = checked_folder(folder)
    shares = None if split_by_speaker is None else parse_shares(split_by_speaker)
    expression = None if pattern is None else compiled(pattern)
    corpus = corpus_name or folder.resolve().name
    reading = Reading(Header(corpus, audio_root=str(folder), licence=licence))
    names = _audio_names(folder, reading)
    words = _Words(folder, reading, transcripts, text_suffix)
    side = {} if side_file is None else _read_side_file(side_file)
    stems = Counter(_stem(name) for name in names)
    for name in names:
        facts, meta = _from_path(expression, name)
        if expression is not None and not facts and not meta:
            reading.flag(_stem(name), "path does not fit the pattern", name)
        facts |= side.get(name) or side.get(_stem(name)) or side.get(PurePosixPath(_stem(name)).name) or {}
        if text := words.of(name):
            facts["text"] = text
        identifier = _stem(name) if stems[_stem(name)] == 1 else name
        if stems[_stem(name)] > 1:
            reading.flag(identifier, "another file has the same stem", name)
        reading.utterances.append(_utterance(identifier, corpus, name, facts, meta))
    _check_use(reading, expression, names)
    _assign_splits(reading, shares, split_seed)
    return reading


_split = split_by_speaker  # the keyword of `read` hides it there


def compiled(pattern: str) -> re.Pattern[str]:
    """The user's expression, which must be one and have named groups."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at position {error.pos}"
        raise InputError(f"--pattern: not a regular expression: {error.msg}{where} in '{pattern}'") from None
    if not expression.groupindex:
        raise InputError(
            f"--pattern: '{pattern}' has no named group; write the part that is the speaker as "
            "(?P<speaker>...), for example '(?P<speaker>[^/]+)/[^/]+$'"
        )
    return expression


def _audio_names(folder: Path, reading: Reading) -> list[str]:
    """Paths of audio files below `folder`, in natural order; other files are counted in a note."""
    names, others = [], Counter()
    for path in _files(folder):
        suffix = os.path.splitext(path)[1].lower()
        if suffix not in AUDIO_SUFFIXES:
            others[suffix or "no suffix"] += 1
            continue
        try:
            path.encode()
        except UnicodeEncodeError:
            reading.drop(ascii(path), "file name is not UTF-8 text")
            continue
        names.append(path)
    seen = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(8))
    if not names:
        raise InputError(
            f"no audio file below {folder}; files found: {seen or 'none'}. "
            f"Suffixes read: {' '.join(AUDIO_SUFFIXES)}"
        )
    if others:
        reading.notes.append(f"{sum(others.values())} files are no audio: {seen}")
    return sorted(names, key=natural)


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                yield Path(parent, name).relative_to(folder).as_posix()


def _from_path(expression: re.Pattern[str] | None, name: str) -> tuple[Facts, Facts]:
    """Fields and other facts that the path says."""
    match = expression.search(name) if expression is not None else None
    found = {} if match is None else {key: value for key, value in match.groupdict().items() if value}
    facts = {key: value for key, value in found.items() if key in _FIELDS}
    return facts, {key: value for key, value in found.items() if key not in _FIELDS}


def _utterance(identifier: str, corpus: str, name: str, facts: Facts, meta: Facts) -> Utterance:
    gender = facts.get("gender", "").lower()
    gender = _GENDERS.get(gender, gender)
    return Utterance(
        id=identifier,
        corpus=corpus,
        audio=name,
        speaker=facts.get("speaker"),
        gender=gender if gender in GENDERS else None,
        split=re.sub(r"[^a-z0-9]+", "_", facts["split"].lower()) if "split" in facts else None,
        text=facts.get("text"),
        text_source="reference" if "text" in facts else None,
        meta=meta or None,
    )


def _read_side_file(path: Path) -> dict[str, Facts]:
    """What a table says about each file, by the name or stem in its file column."""
    if not path.is_file():
        raise InputError(f"--side-file: no such file: {path}")
    table = read_table_file(path)
    columns = found_columns(table.columns, Mapping(), path.name)
    key = columns.get("audio") or columns.get("id")
    if key is None or not set(_FIELDS) & columns.keys():
        raise InputError(
            f"{path}: a side file needs a column of files (file, audio, id) and one of {', '.join(_FIELDS)}; "
            f"columns found: {', '.join(table.columns)}"
        )
    facts = {}
    for _, row in table.rows:
        if name := row.get(key):
            name = name.strip().replace("\\", "/").removeprefix("./")
            said = {field: row.get(columns[field]) for field in _FIELDS if field in columns}
            facts[name] = {field: value for field, value in said.items() if value}
    return facts


class _Words:
    """Transcripts that lie beside the audio, read folder by folder."""

    def __init__(self, folder: Path, reading: Reading, transcripts: str | None, suffix: str | None) -> None:
        self.folder, self.reading = folder, reading
        self.suffix = suffix and "." + suffix.lstrip(".")
        self.lines: dict[tuple[str, str], str] = {}  # folder and stem: words
        if transcripts and (transcripts.startswith(("/", "~")) or ".." in transcripts or ":" in transcripts):
            raise InputError(
                f"--transcripts '{transcripts}': write a pattern below the folder, as '*.trans.txt'"
            )
        for path in sorted(folder.rglob(transcripts)) if transcripts else ():
            parent = path.parent.relative_to(folder).as_posix()
            for line in self._read(path).splitlines():
                stem, _, text = line.strip().partition(" ")
                if stem:
                    self.lines[parent, stem] = text.strip()
        if transcripts and not self.lines:
            raise InputError(
                f"--transcripts '{transcripts}': no file with lines of stem and words in {folder}"
            )

    def of(self, name: str) -> str | None:
        """The words of one audio file, or None."""
        path = PurePosixPath(name)
        if (text := self.lines.get((path.parent.as_posix(), path.stem))) is not None:
            return text
        beside = self.folder / path.with_suffix(self.suffix) if self.suffix else None
        return self._read(beside).strip() if beside is not None and beside.is_file() else None

    def _read(self, path: Path) -> str:
        text, encoding = read_text(path)
        if encoding != "utf-8-sig":
            self.reading.flag(path.relative_to(self.folder).as_posix(), f"text read as {encoding}, not UTF-8")
        return text


def _check_use(reading: Reading, expression: re.Pattern[str] | None, names: list[str]) -> None:
    unfit = sum(remark.reason == "path does not fit the pattern" for remark in reading.flagged)
    if expression is not None and unfit == len(names):
        raise InputError(
            f"--pattern '{expression.pattern}' fits none of the {len(names)} paths, for example '{names[0]}'"
        )
    if all(utterance.speaker is None for utterance in reading.utterances):
        reading.notes.append("no speaker is known: a split may put one person on both sides (see --pattern)")


def _assign_splits(reading: Reading, shares: tuple[float, ...] | None, seed: int) -> None:
    speakers = {utterance.speaker for utterance in reading.utterances} - {None}
    has_split = any(utterance.split is not None for utterance in reading.utterances)
    if shares is None and (has_split or len(speakers) < 3):
        return
    reading.utterances = _split(reading.utterances, shares or parse_shares(DEFAULT_SHARES), seed)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]
