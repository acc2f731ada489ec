"""What an MSP-Podcast folder holds beside the labels: its releases, its tree, splits, speakers and words.

Counts are published ones (`confirmed`: on the corpus' page, or in public loaders that agree) or known from
memory only (`recalled`: shown where they differ, never a failure).
"""

import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from multimodal_ser.corpora.msp_labels import label_files, lines_of
from multimodal_ser.corpora.msp_votes import known, stem_of
from multimodal_ser.corpora.reading import Reading, checked_folder, read_text, subfolder
from multimodal_ser.errors import InputError
from multimodal_ser.textgrids import SILENCES, read_tiers

SPLITS = {
    "train": "train",
    "development": "development",
    "validation": "development",  # up to 1.8
    "test1": "test1",
    "test2": "test2",
    "test3": "test3",
}
THREADS = 8  # that wait for small files
_LABEL_FOLDERS = ("labels", "label")
_AUDIO_FOLDERS = ("audios", "audio")
_TEXT_FOLDER, _ALIGNMENT_FOLDER = "transcripts", "forcealigned"
_INNER = (*_LABEL_FOLDERS, *_AUDIO_FOLDERS, _TEXT_FOLDER, _ALIGNMENT_FOLDER)
_OLD = "previous_releases_information"
_VERSION = re.compile(r"(?i)(?:publish|podcast|v)[-_ .]*(\d\.\d{1,2})(?!\d)")
_CHALLENGES = (
    ("odyssey", "odyssey-2024"),
    ("interspeech", "interspeech-2025"),
    ("is2025", "interspeech-2025"),
)
_SPEAKER = re.compile(r"(?i)speaker_(\w+)")


@dataclass(frozen=True)
class Release:
    """What is known about the size of one release."""

    labelled: int  # clips with labels, so without Test3
    confirmed: dict[str, int] = field(default_factory=dict)
    source: str = ""
    recalled: dict[str, int] = field(default_factory=dict)


def _splits(train: int, development: int, test1: int, test2: int) -> dict[str, int]:
    return {"train": train, "development": development, "test1": test1, "test2": test2}


_LOADERS = "public code that reads the release"
RELEASES = {
    "1.6": Release(50_362, recalled=_splits(34_280, 5_958, 10_124, 0)),
    "1.7": Release(62_140, recalled=_splits(38_179, 7_538, 12_902, 3_521)),
    "1.8": Release(
        73_042,
        {"development": 7_800, "test1": 15_326, "total": 73_042},
        "label statistics published with public models",
        _splits(44_879, 7_800, 15_326, 5_037),
    ),
    "1.10": Release(104_267, recalled=_splits(63_076, 10_999, 16_903, 13_289)),
    "1.11": Release(
        149_307,
        {**_splits(84_030, 19_815, 30_647, 14_815), "test3": 2_347, "total": 151_654},
        "the corpus' page",
    ),
    "1.12": Release(
        203_936,
        {"development": 31_961, "test3": 3_200, "total": 207_136},
        f"the release's readme and {_LOADERS}",
    ),
    "2.0": Release(
        264_705,
        {"test3": 3_200, "total": 267_905},
        _LOADERS,
        _splits(169_190, 34_399, 46_294, 14_822),
    ),
    "odyssey-2024": Release(88_175, {"train": 68_360, "development": 19_815}, "the challenge's baseline"),
    "interspeech-2025": Release(116_221, {"train": 84_260, "development": 31_961}, _LOADERS),
}


class Tree(NamedTuple):
    """Where the parts of a release lie."""

    top: Path
    labels: Path
    audio: Path | None
    transcripts: Path | None
    alignments: Path | None


class Speakers(NamedTuple):
    """What Speaker_ids.txt says."""

    of_clip: dict[str, str]
    gender: dict[str, str]


def find_tree(folder: str | os.PathLike, reading: Reading) -> Tree:
    """The release that `folder` is, is a part of or contains; a note says which level was meant."""
    given = checked_folder(folder).absolute()
    for top, labels in _candidates(given):
        if top != given:
            how = "one level below" if top.parent == given else "above"
            reading.notes.append(f"the corpus' top folder is {top}, {how} the one given")
        checked_folder(labels)
        parts = (subfolder(top, *names) for names in (_AUDIO_FOLDERS, (_TEXT_FOLDER,), (_ALIGNMENT_FOLDER,)))
        return Tree(top, labels, *parts)
    present = ", ".join(sorted(path.name for path in given.iterdir())[:8])
    raise InputError(
        f"no label folder in {given}: expected Labels/ (label or labels in old releases) with "
        f"labels_consensus.csv; found {present}. Is this MSP-Podcast's top folder, all of it unpacked?"
    )


def find_version(tree: Tree, given: str | os.PathLike, rows: int, reading: Reading) -> str | None:
    """The release, by the number of its labelled rows, or else by the name of its folder."""
    counted = next((name for name, release in RELEASES.items() if release.labelled == rows), None)
    named = next(filter(None, map(_named_version, (tree.top.name, Path(given).absolute().name))), None)
    if counted and named and counted != named:
        reading.notes.append(f"the folder is named after {named}, but {rows:,} labelled rows are {counted}'s")
    elif not counted and not named:
        reading.notes.append(f"{rows:,} labelled rows are those of no release known here; say --version")
    elif named and named not in RELEASES:
        reading.notes.append(f"no counts of release {named} are known here")
    return counted or named


def read_partitions(tree: Tree, reading: Reading) -> dict[str, str]:
    """Split per clip from Partitions.txt (Partition.txt in one readme); lines of another form are skipped."""
    partitions = {}
    for path in _top_files(tree, "partitions.txt", "partition.txt"):
        for line in lines_of(path, reading):
            name, separator, file = line.partition(";")
            split = SPLITS.get(name.strip().lower())
            if separator and split:
                partitions[stem_of(file.strip().rstrip(";"))] = split
    return partitions


def read_speakers(tree: Tree, reading: Reading) -> Speakers:
    """Speakers of clips and genders of speakers from Speaker_ids.txt."""
    speakers = Speakers({}, {})
    for path in _top_files(tree, "speaker_ids.txt"):
        for line in lines_of(path, reading):
            left, separator, right = (part.strip() for part in line.partition(";"))
            right = known(right.rstrip(";")) if separator else None
            if right is None:
                continue
            if match := _SPEAKER.fullmatch(left):
                speakers.gender[match[1]] = right
            elif left.lower().endswith(".wav"):
                match = _SPEAKER.fullmatch(right)
                speakers.of_clip[stem_of(left)] = match[1] if match else right
    return speakers


def audio_files(tree: Tree) -> dict[str, str]:
    """Paths of the wav files below the top folder, by their stems; the folder is listed once."""
    if tree.audio is None:
        return {}
    below = tree.audio.relative_to(tree.top).as_posix()
    with os.scandir(tree.audio) as entries:
        names = [entry.name for entry in entries]
    return {stem_of(name): f"{below}/{name}" for name in names if _is_visible(name, ".wav")}


def read_words(tree: Tree, reading: Reading, from_alignment: bool) -> dict[str, tuple[str, str]]:
    """Text and its source per clip; no file, no entry; an empty file gives the empty text."""
    words = {stem: (text, "reference") for stem, text in _read_all(tree.transcripts, ".txt", reading)}
    if from_alignment:
        for stem, praat in _read_all(tree.alignments, ".textgrid", reading, skip=words):
            if (text := words_of_textgrid(praat)) is None:
                reading.flag(stem, "alignment is not a TextGrid", f"{stem}.TextGrid")
            else:
                words[stem] = (text, "alignment")
    return words


def words_of_textgrid(praat: str) -> str | None:
    """The words of the first tier of a Praat TextGrid, long or short form; None if it is none or damaged."""
    try:
        tiers = read_tiers(praat)
    except InputError:
        return None
    labels = (mark.text.strip() for tier in tiers[:1] for mark in tier.marks)
    return " ".join(label for label in labels if label not in SILENCES)


def _candidates(given: Path) -> Iterable[tuple[Path, Path]]:
    """Pairs of a top folder and its label folder, the likeliest first."""
    top = given
    while top.name.lower() in _INNER:
        top = top.parent
    if labels := _subfolder(top, *_LABEL_FOLDERS):
        yield top, labels
    elif label_files(given):  # a label folder of another name, or labels beside the audio
        yield (given if _subfolder(given, *_AUDIO_FOLDERS) else given.parent), given
    below = [path for path in sorted(given.iterdir()) if path.is_dir() and path.name.lower() != _OLD]
    found = [(path, labels) for path in below if (labels := _subfolder(path, *_LABEL_FOLDERS))]
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise InputError(f"{given} holds several releases ({names}); give the folder of one")
    yield from found


def _subfolder(folder: Path, *names: str) -> Path | None:
    """`subfolder`, for folders that may be none of ours and closed to us."""
    try:
        return subfolder(folder, *names)
    except PermissionError:
        return None


def _named_version(name: str) -> str | None:
    for word, challenge in _CHALLENGES:
        if word in name.lower():
            return challenge
    match = _VERSION.search(name)
    return match[1] if match else None


def _top_files(tree: Tree, *names: str) -> list[Path]:
    """The first of `names`, in any case, in the top folder or beside the labels."""
    for folder in (tree.top, tree.labels):
        files = {path.name.lower(): path for path in folder.iterdir()}
        for name in names:
            if name in files:
                return [files[name]]
    return []


def _read_all(
    folder: Path | None, suffix: str, reading: Reading, skip: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Stems and texts of the files in a folder, runs of blanks made one; odd encodings are flagged."""
    if folder is None:
        return []
    skipped = set(skip)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if _is_visible(entry.name, suffix))
    names = [name for name in names if name[: -len(suffix)] not in skipped]
    found = []
    with ThreadPoolExecutor(THREADS) as threads:
        texts = threads.map(lambda name: read_text(folder / name), names)
        for name, (text, encoding) in zip(names, texts, strict=True):
            stem = name[: -len(suffix)]
            if encoding != "utf-8-sig":
                reading.flag(stem, "text file is not UTF-8", f"{name}: read as {encoding}")
            found.append((stem, " ".join(text.split())))
    return found


def _is_visible(name: str, suffix: str) -> bool:
    """Whether a file is of the kind and not one of the "._" files that macOS leaves behind."""
    return name.lower().endswith(suffix) and not name.startswith(".")
