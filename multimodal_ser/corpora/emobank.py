"""EmoBank: English sentences rated for valence, arousal and dominance; text only, no audio.

Origin: Buechel and Hahn, "EmoBank: Studying the Impact of Annotation Perspective and Representation
Format on Dimensional Emotion Analysis", EACL 2017. Sentences of the MASC corpus and SemEval-2007
headlines, each rated by about five people asked what a reader feels and about five asked what the writer
felt.
Licence: CC BY-SA 4.0.
How to obtain: clone the repository JULIELab/EmoBank; give that folder or its `corpus` folder.
Split: official, the column `split` of emobank.csv (train 8062, dev 1000, test 1000). It was drawn by
sentence: nearly all documents are in two or three splits, and letters repeat their formulas
("Sincerely,") across splits.

Files: emobank.csv (id, split, V, A, D, text: means over both perspectives, weighted by raters),
reader.csv and writer.csv (id, V, A, D, stdV, stdA, stdD, N), meta.tsv (id, document, category,
subcategory), raw.csv (id, text), and in the repository individual_reader_ratings.csv and
individual_writer_ratings.csv (id, V, A, D, one row per rater). All values are on 1..5.

Traps:
- One sentence is the word "None", which pandas takes for a missing value; here every cell stays text.
- The columns stand in the order V, A, D.
- reader.csv and writer.csv hold a few hundred sentences that emobank.csv, and so the official split,
  lacks.
- The corpus' own aggregation discards every rating of 1, 1, 1 as invalid; so do the `ratings` here, whose
  means are then the published ones.
- The labels are narrow (valence 2.98±0.35), so a constant prediction has a small error: judge by CCC.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from multimodal_ser.corpora.reading import Reading, checked_folder, finite_number, read_table
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, FIVE_POINT
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

PERSPECTIVES = ("combined", "reader", "writer")
COLUMNS = {"arousal": "A", "valence": "V", "dominance": "D"}
SPLITS = {"train": "train", "dev": "development", "test": "test"}
EXPECTED = {"train": 8062, "development": 1000, "test": 1000, "total": 10062}
INVALID = {"V": "1", "A": "1", "D": "1"}

Row = dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--perspective",
        choices=PERSPECTIVES,
        default="combined",
        help="whose emotion was asked for: the reader's, the writer's, or the mean of both",
    )


def read(folder: Path, perspective: str = "combined") -> Reading:
    """Read EmoBank from the folder that holds emobank.csv, or from the one above."""
    if perspective not in PERSPECTIVES:
        raise InputError(f"unknown perspective '{perspective}'; known: {', '.join(PERSPECTIVES)}")
    folder = _corpus_folder(checked_folder(folder))
    sentences = read_table(folder / "emobank.csv", ("id", "split", "V", "A", "D", "text"))
    aggregates = {name: _by_id(folder / f"{name}.csv", "V", "A", "D", "N") for name in PERSPECTIVES[1:]}
    reading = Reading(
        Header(corpus="emobank", licence="CC BY-SA 4.0"),
        expected=dict(EXPECTED),
        expected_from="the repository's README and emobank.csv",
        scale=FIVE_POINT,
    )
    reading.notes.append(f"labels: {perspective} perspective")
    rated = aggregates.get(perspective)
    if rated is not None and not rated:
        raise InputError(f"--perspective {perspective} needs {folder / perspective}.csv, which is not there")
    details = _by_id(folder / "meta.tsv", "document", "category", delimiter="\t")
    ratings = _individual_ratings(folder, perspective, reading)
    for sentence in sentences:
        identifier = sentence["id"]
        labels = sentence if rated is None else rated.get(identifier)
        if labels is None or not sentence["text"].strip():
            reason = "empty text" if labels else f"no {perspective} rating"
            reading.drop(identifier, reason, split=SPLITS.get(sentence["split"]))
            continue
        meta = _meta(identifier, details, labels, aggregates, perspective, reading)
        reading.utterances.append(_utterance(sentence, labels, ratings.get(identifier), meta, reading))
    _account_for_the_rest(reading, {sentence["id"] for sentence in sentences}, aggregates, perspective)
    return reading


def _corpus_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "corpus"):
        if (candidate / "emobank.csv").is_file():
            return candidate
    raise InputError(
        f"no emobank.csv in {folder} or its folder 'corpus'; give the top folder of the repository "
        "JULIELab/EmoBank. For sentences of your own use `prepare table`"
    )


def _by_id(path: Path, *columns: str, delimiter: str = ",") -> dict[str, Row]:
    """The rows of a table by their id; nothing if the table is not there."""
    if not path.is_file():
        return {}
    return {row["id"]: row for row in read_table(path, ("id", *columns), delimiter)}


def _individual_ratings(folder: Path, perspective: str, reading: Reading) -> dict[str, list[dict]]:
    """Every single rating by sentence, in unit scale, without those that the corpus discards."""
    found: dict[str, list[dict]] = {}
    discarded = 0
    for name in PERSPECTIVES[1:]:
        path = folder / f"individual_{name}_ratings.csv"
        if perspective not in ("combined", name) or not path.is_file():
            continue
        for row in read_table(path, ("id", "V", "A", "D")):
            if row.items() >= INVALID.items():
                discarded += 1
                continue
            found.setdefault(row["id"], []).append({"perspective": name, **_units(row, row["id"], reading)})
    if discarded:
        reading.notes.append(f"{discarded} single ratings of 1, 1, 1 left out, as in the published means")
    return found


def _units(row: Row, identifier: str, reading: Reading) -> dict[str, float | None]:
    units: dict[str, float | None] = {}
    for dimension in DIMENSIONS:
        value = finite_number(row[COLUMNS[dimension]])
        if value is None:
            reading.flag(identifier, "rating missing", f"{dimension} = '{row[COLUMNS[dimension]]}'")
        units[dimension] = None if value is None else reading.unit(identifier, dimension, value, FIVE_POINT)
    return units


def _meta(
    identifier: str,
    details: dict[str, Row],
    labels: Row,
    aggregates: dict[str, dict[str, Row]],
    perspective: str,
    reading: Reading,
) -> dict:
    """Document, genre, number of raters, and for one perspective the raters' standard deviation."""
    meta: dict = {"perspective": perspective}
    if row := details.get(identifier):
        names = {"document": "document", "category": "genre", "subcategory": "subgenre"}
        meta |= {name: row[key].strip() for key, name in names.items() if row.get(key, "").strip()}
    elif details:
        reading.flag(identifier, "no row in meta.tsv")
    asked = PERSPECTIVES[1:] if perspective == "combined" else (perspective,)
    counts = [aggregates[name].get(identifier, {}).get("N", "") for name in asked]
    if all(map(str.isdecimal, counts)):
        meta["raters"] = sum(map(int, counts))
    spreads = {name: finite_number(labels.get(f"std{column}", "")) for name, column in COLUMNS.items()}
    if None not in spreads.values():
        span = FIVE_POINT.high - FIVE_POINT.low
        meta["spread"] = {name: round(value / span, 15) for name, value in spreads.items()}
    return meta


def _utterance(
    sentence: Row, labels: Row, ratings: list[dict] | None, meta: dict, reading: Reading
) -> Utterance:
    split = SPLITS.get(sentence["split"])
    if split is None:
        reading.flag(sentence["id"], "unknown split", f"'{sentence['split']}'")
    return Utterance(
        id=sentence["id"],
        corpus="emobank",
        split=split,
        text=sentence["text"],
        text_source="reference",
        **_units(labels, sentence["id"], reading),
        label_source="rated",
        ratings=ratings,
        meta=meta,
    )


def _account_for_the_rest(
    reading: Reading, known: set[str], aggregates: dict[str, dict[str, Row]], perspective: str
) -> None:
    """List rated sentences outside the official split, and say how far the splits share sentences."""
    for name, rows in aggregates.items():
        outside = [identifier for identifier in rows if identifier not in known]
        if name == perspective:
            for identifier in outside:
                reading.drop(identifier, "not in emobank.csv, so in no official split", failed=False)
        elif outside and perspective == "combined":
            reading.notes.append(f"{name}.csv rates {len(outside)} sentences that emobank.csv does not have")
    train = _texts(reading.utterances, "train")
    shared = sum(u.split in ("development", "test") and u.text in train for u in reading.utterances)
    if shared:
        reading.notes.append(
            f"{shared} sentences of development and test stand word for word in train: the official split "
            "was drawn by sentence, not by document"
        )


def _texts(utterances: Iterable[Utterance], split: str) -> set[str | None]:
    return {utterance.text for utterance in utterances if utterance.split == split}
