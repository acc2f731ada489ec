"""EmoDB, the Berlin database of emotional speech: ten actors, ten German sentences, seven emotions.

Origin: Burkhardt, Paeschke, Rolfes, Sendlmeier and Weiss, "A Database of German Emotional Speech",
Interspeech 2005. 535 clips that at least 80 % of the listeners recognised; 24.8 minutes.
Licence: free to use (catalogued as CC0).
How to obtain: emodb.bilderbar.info, archive `download.zip`; give the folder that holds `wav`. A flat
folder of wav or flac files under the corpus' names works too, with or without an `emodb.csv`.
Split: none official. `fold` is 1..5, each one woman and one man, none in two folds; the pairs are chosen
so that the folds have nearly the same size (106, 107, 110, 113, 99 clips).

File names are SSTTTEv: speaker, sentence, letter of the German word for the emotion, version a..f.
`erkennung.txt` gives for 816 takes how many listeners recognised the emotion and how many found the take
natural, in percent with a decimal comma; it becomes `meta` as shares of 1. emodb.csv (file, speaker,
gender, sentence, emotion) is checked against the names.

Traps:
- The letters are German: A is Angst, fear; F is Freude, happiness; E is Ekel, disgust; W is Wut, anger.
- erkennung.txt is Latin-1, pads its cells with blanks and no-break spaces, and lists takes that were
  never released.
- The folders silb, labsilb and lablaut hold labels of syllables and sounds under names like the clips';
  they are no audio and are not read.
- Ten sentences in every emotion: the text carries no emotion, and it is German.
"""

import argparse
import re
from pathlib import Path

from multimodal_ser.corpora.reading import Reading, checked_folder, read_table, read_text, relative, subfolder
from multimodal_ser.errors import InputError
from multimodal_ser.labels import emotion_named
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
# Speaker: gender, age in years, fold.
SPEAKERS = {
    "03": ("male", 31, 3),
    "08": ("female", 34, 4),
    "09": ("female", 21, 5),
    "10": ("male", 32, 2),
    "11": ("male", 26, 4),
    "12": ("male", 30, 1),
    "13": ("female", 32, 3),
    "14": ("female", 35, 2),
    "15": ("male", 25, 5),
    "16": ("female", 31, 1),
}
EXPECTED = {"fold1": 106, "fold2": 107, "fold3": 110, "fold4": 113, "fold5": 99, "total": 535}
NAME = re.compile(rf"({'|'.join(SPEAKERS)})({'|'.join(SENTENCES)})([{''.join(EMOTIONS)}])([a-z])")
AUDIO_SUFFIXES = (".wav", ".flac")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """EmoDB has no options of its own."""


def read(folder: Path) -> Reading:
    """Read EmoDB from the folder that holds `wav`, or from a flat folder of clips."""
    folder = checked_folder(folder)
    reading = Reading(
        Header(corpus="emodb", licence="free to use"),
        expected=dict(EXPECTED),
        expected_from="Burkhardt et al. 2005 and the released files; folds are ours",
    )
    judgements = _judgements(folder, reading)
    kept: dict[str, str] = {}
    for path in _clips(folder):
        where, match = relative(path, folder), NAME.fullmatch(path.stem)
        if match is None:
            reading.drop(path.stem, "the name does not follow the corpus' pattern", where)
        elif path.stem in kept:
            detail = f"{where}, kept {kept[path.stem]}"
            reading.drop(path.stem, "a second file with the same stem", detail, failed=False)
        else:
            kept[path.stem] = where
            reading.utterances.append(_utterance(match, where, judgements.get(path.stem)))
    if not kept:
        raise InputError(
            f"no EmoDB clip in {folder}: expected wav/03a01Fa.wav and so on, or such names in the folder "
            "itself. Give the folder that holds `wav`; for another corpus choose its own reader"
        )
    _compare_with_csv(folder / "emodb.csv", reading)
    reading.notes.append(
        "there is no official split: `fold` tests on two speakers at a time (--fold 1 ... 5)"
    )
    reading.notes.append("ten German sentences are spoken in every emotion, so the text carries no emotion")
    if unreleased := len(judgements.keys() - kept.keys()):
        reading.notes.append(f"erkennung.txt judges {unreleased} takes that are not in this folder")
    return reading


def _clips(folder: Path) -> list[Path]:
    """The clips, wav before flac, so that of two files with one stem the original is kept."""
    inside = subfolder(folder, "wav") or folder
    files = (p for p in inside.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith("."))
    return sorted(files, key=lambda path: (AUDIO_SUFFIXES.index(path.suffix.lower()), path.name))


def _utterance(match: re.Match[str], where: str, judgement: dict[str, float] | None) -> Utterance:
    speaker, sentence, letter, version = match.groups()
    gender, age, fold = SPEAKERS[speaker]
    return Utterance(
        id=match[0],
        corpus="emodb",
        audio=where,
        speaker=speaker,
        gender=gender,
        fold=fold,
        text=SENTENCES[sentence],
        text_source="reference",
        emotion=EMOTIONS[letter],
        label_source="acted",
        meta={"sentence": sentence, "version": version, "age": age, "language": "de", **(judgement or {})},
    )


def _judgements(folder: Path, reading: Reading) -> dict[str, dict[str, float]]:
    """Shares of listeners per take from erkennung.txt: `recognised` and `natural`."""
    path = folder / "erkennung.txt"
    if not path.is_file():
        return {}
    found: dict[str, dict[str, float]] = {}
    rows = [line.split() for line in read_text(path)[0].splitlines() if line.strip()]
    for row in rows[1:]:
        stem = row[0].removesuffix(".wav")
        try:
            recognised, natural = (float(cell.replace(",", ".")) for cell in row[1:3])
        except ValueError:
            reading.flag(stem, "line of erkennung.txt not understood", " ".join(row))
            continue
        found[stem] = {"recognised": round(recognised / 100, 6), "natural": round(natural / 100, 6)}
    return found


def _compare_with_csv(path: Path, reading: Reading) -> None:
    """Flag clips of which emodb.csv says something else than their names, and rows without a clip."""
    if not path.is_file():
        return
    columns = ("file", "speaker", "gender", "sentence", "emotion")
    rows = {Path(row["file"]).stem: row for row in read_table(path, columns)}
    for utterance in reading.utterances:
        row = rows.pop(utterance.id, None)
        if row is None:
            reading.flag(utterance.id, "no row in emodb.csv")
            continue
        named = (utterance.speaker, utterance.gender, utterance.meta["sentence"], utterance.emotion)
        if (row["speaker"], row["gender"], row["sentence"], _emotion(row["emotion"])) != named:
            listed = ", ".join(row[column] for column in columns[1:])
            reading.flag(utterance.id, "emodb.csv disagrees with the name; the name is believed", listed)
    for identifier in rows:
        reading.drop(identifier, "in emodb.csv, but there is no such file")


def _emotion(word: str) -> str | None:
    try:
        return emotion_named(word)
    except InputError:
        return None
