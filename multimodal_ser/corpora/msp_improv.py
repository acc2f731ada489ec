"""MSP-IMPROV: six pairs of actors improvise scenes around twenty sentences, rated by crowds.

Origin: Busso et al. 2017, "MSP-IMPROV: An acted corpus of dyadic interactions to study emotion perception";
MSP lab, University of Texas at Dallas.
Licence: academic, signed by the institution; nothing of it may be passed on. To obtain it, ask at
https://www.lab-msp.com/MSP/MSP-Improv.html.
Split: none official. `fold` is the session, for six-fold leave-one-session-out; its two speakers are in no
other. One public script writes the training sessions into the file called test and the reverse.
Scale: 1..5 on disk, the mean of the raters. `ratings` holds every rater's answer, `emotion_probs` the shares
of their primary votes. meta.naturalness (N) is in unit scale, null where it is not given.
Words: the label file has none; run `multimodal-ser transcribe`. Target sentences (scenarios R and T) are
spoken by all actors, so a text model sees the words of the test session while it trains.

Traps handled: the label file is spelled Evalution.txt (Evaluation.txt in some copies); it names UTD-IMPROV
videos where the audio is MSP-IMPROV; N: stands behind D: or not at all, NaN for a missing number; a letter N
is neutral, a field N: naturalness; audio below the top folder or below Audio; doubled folders; hidden "._"
files; clips without audio and audio without labels.
"""

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from multimodal_ser.corpora.msp_labels import Block, blocks, lines_of
from multimodal_ser.corpora.msp_votes import (
    LETTERS,
    Ratings,
    Units,
    add_line,
    emotion_of,
    stem_of,
    vote_shares,
)
from multimodal_ser.corpora.reading import Reading, checked_folder, relative
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, FIVE_POINT
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

CORPUS = "msp-improv"
LICENCE = "MSP-IMPROV academic licence (University of Texas at Dallas); not to be passed on"
CLIPS = 8_438
SCENARIOS = {"P": "natural", "R": "target_read", "S": "other_improvised", "T": "target_improvised"}
_LABEL_FILES = ("evalution.txt", "evaluation.txt")  # as it is released, as it was meant
_INNER = re.compile(r"(?i)session[1-6]|audios?|labels?")
_NAME = re.compile(
    r"(?:UTD|MSP)-IMPROV-S(?P<sentence>\d\d)(?P<target>[AHNS])-(?P<gender>[FM])0(?P<session>[1-6])"
    r"-(?P<scenario>[PRST])-(?P<pair>[FM]{2})(?P<turn>\d+)"
)
_GENDERS = {"F": "female", "M": "male"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this corpus."""
    parser.add_argument(
        "--drop-no-agreement",
        action="store_true",
        help="leave out clips whose raters agreed on no class (X); their dimensions are sound",
    )


def read(folder: str | os.PathLike, drop_no_agreement: bool = False) -> Reading:
    """Read MSP-IMPROV from the folder that holds its label file and its sessions."""
    reading = Reading(
        Header(CORPUS, licence=LICENCE),
        expected={"total": CLIPS},
        expected_from="the corpus' paper",
        scale=FIVE_POINT,
    )
    top, labels = _find(checked_folder(folder).absolute(), reading)
    reading.header = Header(CORPUS, audio_root=str(top), licence=LICENCE)
    audio = _audio_files(top, reading)
    units, seen = Units(reading, FIVE_POINT), set()
    for block in blocks(lines_of(labels, reading), ".avi"):
        utterance = _utterance(block, audio, units)
        if utterance is None:
            continue
        seen.add(utterance.id)
        if drop_no_agreement and utterance.emotion == "no_agreement":
            reading.drop(utterance.id, "no agreement, left out as asked", failed=False)
        else:
            reading.utterances.append(utterance)
    for stem in sorted(audio.keys() - seen):
        reading.drop(stem, "audio without labels", audio[stem], failed=False)
    return reading


def _find(given: Path, reading: Reading) -> tuple[Path, Path]:
    """The top folder and the label file; a note says which level was meant."""
    top = given
    while _INNER.fullmatch(top.name) and top != top.parent:
        top = top.parent
    for candidate in (top, *_folders(given)):
        inner = [path for path in _folders(candidate) if _INNER.fullmatch(path.name)]
        found = [path for place in (candidate, *inner) for path in _label_files(place)]
        if not found:
            continue
        if candidate != given:
            reading.notes.append(f"the corpus' top folder is {candidate}, not the one given")
        if len(found) > 1:
            others = ", ".join(relative(path, candidate) for path in found[1:])
            reading.notes.append(f"{relative(found[0], candidate)} was read, not {others}")
        return candidate, found[0]
    present = ", ".join(sorted(path.name for path in given.iterdir())[:8])
    raise InputError(
        f"no Evalution.txt in {given}: the label file of MSP-IMPROV, spelled so, lies beside session1 to "
        f"session6; found {present}. Is this MSP-IMPROV's top folder, all of it unpacked?"
    )


def _label_files(folder: Path) -> list[Path]:
    """The label files of a folder, the released spelling first."""
    found = [path for path in _visible(folder) if path.name.lower() in _LABEL_FILES and path.is_file()]
    return sorted(found, key=lambda path: _LABEL_FILES.index(path.name.lower()))


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> Iterator[Path]:
    """What a folder holds, less hidden files; nothing if it is closed to us."""
    try:
        yield from sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except PermissionError:
        return


def _audio_files(top: Path, reading: Reading) -> dict[str, str]:
    """Paths of the wav files below `top` by their stems; of two of one name the first is taken."""
    found: dict[str, str] = {}
    for folder, subfolders, names in os.walk(top):
        subfolders.sort()
        for name in sorted(names):
            if name.startswith(".") or not name.lower().endswith(".wav"):
                continue
            path = relative(Path(folder) / name, top)
            if (first := found.setdefault(stem_of(name), path)) != path:
                reading.flag(stem_of(name), "two audio files of one name", f"{first} was taken, not {path}")
    return found


def _utterance(block: Block, audio: dict[str, str], units: Units) -> Utterance | None:
    """The clip of one block, or None, listed, if its name tells nothing."""
    name = _NAME.fullmatch(stem_of(block.file))
    if name is None:
        units.reading.drop(stem_of(block.file), "file name of another form", block.file)
        return None
    stem = "MSP" + stem_of(block.file)[3:]
    ratings: Ratings = {}
    for line in block.votes:
        add_line(ratings, stem, line, units)
    usual = f"session{name['session']}/S{name['sentence']}{name['target']}/{name['scenario']}/{stem}.wav"
    values = {
        dimension: units(stem, dimension, block.numbers.get(letter, ""))
        for dimension, letter in zip(DIMENSIONS, "AVD", strict=True)
    }
    return Utterance(
        id=stem,
        corpus=CORPUS,
        audio=audio.get(stem, usual),
        speaker=f"{name['gender']}0{name['session']}",
        gender=_GENDERS[name["gender"]],
        fold=int(name["session"]),
        emotion=emotion_of(units.reading, stem, block.emotion),
        emotion_probs=vote_shares(ratings.get(stem, ())),
        label_source="rated",
        ratings=ratings.get(stem),
        meta={
            "session": int(name["session"]),
            "sentence": int(name["sentence"]),
            "target": LETTERS[name["target"]],
            "scenario": SCENARIOS[name["scenario"]],
            "pair": name["pair"],
            "turn": int(name["turn"]),
            "naturalness": units(stem, "naturalness", block.numbers.get("N", "")),
        },
        **values,
    )
