"""IEMOCAP: ten actors in five two-person sessions, improvised and scripted, about twelve hours.

Origin: Busso et al. 2008, "IEMOCAP: Interactive emotional dyadic motion capture database", USC SAIL.
Licence: research only, not to be passed on. To obtain it, send the signed form at https://sail.usc.edu/iemocap.
Split: none official. `fold` is the session, for five-fold leave-one-session-out; for a development set the
next session is usual, and so is one of the two speakers of the test session.
Scale: 1..5 on disk; a dimension is the mean over the outside raters (E*). Self ratings (F*, M*) stand in
`ratings` with "self": true and are in no mean and no vote, so numbers of papers that average them in differ.
`emotion_probs` counts every label that an outside rater named, as the majority vote of the corpus does.

Traps handled: the speaker is session + letter of the *last* part of the id (the letter in the dialog's name
says who wore the markers); dialog letters (impro05a, script01_1b); hidden "._" files; sub-folders of
EmoEvaluation; bracket order valence, activation, dominance; several labels per rater, missing ratings, values
outside 1..5 (clamped); transcript lines without id or with an XX id, leading blanks, colons and brackets in
the text, bytes that are not UTF-8. Marks of sounds ([LAUGHTER]) tell a text model the emotion, and recognised
speech has none: they move from the text to meta.sounds unless `keep_sounds`.
"""

import argparse
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.iemocap_files import (
    CODES,
    DIALOG,
    UTTERANCE,
    Block,
    read_evaluation,
    read_transcription,
)
from multimodal_ser.corpora.reading import Reading, checked_folder, relative, subfolder
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, EMOTIONS, FIVE_POINT
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

COUNTS = (1819, 1811, 2136, 2103, 2170)  # utterances of sessions 1 to 5: 10,039
FOUR_CLASS_COUNTS = (1085, 1023, 1151, 1031, 1241)  # excited counted as happy: 5,531
FOUR_CLASSES = ("neutral", "happiness", "sadness", "anger")
MEAN_TOLERANCE = 0.01  # rating points; means are printed with four decimals
GENDERS = {"F": "female", "M": "male"}
STYLES = {"impro": "improvised", "script": "scripted"}

_SESSION = re.compile(r"(?i)session([1-5])")
_SOUND = re.compile(r"\[([A-Z]+(?:[ _-][A-Z]+)*)\]")


@dataclass(frozen=True)
class _Choice:
    """What the user asked for."""

    four_class: bool
    style: str | None  # "impro" or "script": that style only
    keep_sounds: bool

    def merged(self, emotion: str) -> str:
        """The class that `emotion` counts as."""
        return "happiness" if self.four_class and emotion == "excitement" else emotion

    def why_left_out(self, block: Block) -> str | None:
        """The option that excludes a block, if one does."""
        style = _name_of(block)["style"]
        if self.style and style != self.style:
            return f"left out by --{STYLES[self.style]}-only"
        if self.four_class and self.merged(CODES.get(block.code, "")) not in FOUR_CLASSES:
            return "left out by --four-class"
        return None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this corpus."""
    parser.add_argument(
        "--four-class",
        action="store_true",
        help="neutral, happiness (with excited), sadness and anger only: 5,531 utterances",
    )
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--improvised-only", action="store_true", help="leave out the scripted dialogs")
    style.add_argument("--scripted-only", action="store_true", help="leave out the improvised dialogs")
    parser.add_argument(
        "--keep-sounds", action="store_true", help="keep marks such as [LAUGHTER] in the text"
    )


def read(
    folder: str | os.PathLike,
    four_class: bool = False,
    improvised_only: bool = False,
    scripted_only: bool = False,
    keep_sounds: bool = False,
) -> Reading:
    """Read IEMOCAP_full_release, or the folder that holds it."""
    if improvised_only and scripted_only:
        raise InputError("--improvised-only and --scripted-only leave nothing; give at most one of them")
    choice = _Choice(
        four_class, "impro" if improvised_only else "script" if scripted_only else None, keep_sounds
    )
    root, sessions = _find_sessions(checked_folder(folder))
    header = Header("iemocap", audio_root=str(root), licence="USC SAIL: research only, on request")
    reading = Reading(header, scale=FIVE_POINT)
    passed_over: Counter[str] = Counter()
    for session in sessions:
        _read_session(session, relative(session, root), choice, reading, passed_over)
    if not reading.utterances and not reading.dropped:
        names = ", ".join(session.name for session in sessions)
        raise InputError(f"{root}: no labelled utterance in dialog/EmoEvaluation of {names}; unpack it whole")
    _add_counts(reading, choice)
    _add_notes(reading, choice, passed_over)
    return reading


def _read_session(
    session: Path, folder: str, choice: _Choice, reading: Reading, passed_over: Counter[str]
) -> None:
    evaluations = _dialog_files(session, "EmoEvaluation")
    if not evaluations:
        reading.notes.append(f"{session.name} has no dialog/EmoEvaluation/*.txt: is it unpacked whole?")
    transcriptions = {path.name: path for path in _dialog_files(session, "transcriptions")}
    for path in evaluations:
        texts: dict[str, str] = {}
        if path.name in transcriptions:
            texts = read_transcription(transcriptions[path.name], reading, passed_over)
        else:
            reading.notes.append(f"{session.name} has no dialog/transcriptions/{path.name}: no text there")
        for block in read_evaluation(path, reading):
            spoken = texts.pop(block.id, None)
            if reason := choice.why_left_out(block):
                reading.drop(block.id, reason, block.code, failed=False)
            else:
                reading.utterances.append(_utterance(block, folder, spoken, choice, reading))
        for identifier in texts:
            reading.drop(identifier, "transcribed but not labelled", path.name, failed=False)


def _find_sessions(folder: Path) -> tuple[Path, list[Path]]:
    """The corpus' top folder and its session folders, from that folder or from the one above."""
    for root in (folder, subfolder(folder, "IEMOCAP_full_release", "IEMOCAP")):
        entries = sorted(root.iterdir()) if root else []
        if root and (found := [e for e in entries if _SESSION.fullmatch(e.name) and e.is_dir()]):
            return root, found
    for inner in (folder.resolve(), *folder.resolve().parents):
        if _SESSION.fullmatch(inner.name):
            raise InputError(
                f"{folder} is {inner.name} of IEMOCAP or lies in it; give the folder that holds Session1 to "
                f"Session5: {inner.parent}"
            )
    shown = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5])
    raise InputError(
        f"{folder}: no Session1 to Session5 in it, but {shown}; give the folder IEMOCAP_full_release, "
        "unpacked from its archive"
    )


def _dialog_files(session: Path, name: str) -> list[Path]:
    """The dialogs' text files directly in dialog/`name`: not the hidden ones, not those of sub-folders."""
    dialog = subfolder(session, "dialog")
    folder = dialog and subfolder(dialog, name)
    if not folder:
        return []
    return [path for path in sorted(folder.glob("*.txt")) if DIALOG.fullmatch(path.stem)]


def _name_of(block: Block) -> re.Match[str]:
    name = UTTERANCE.fullmatch(block.id)
    assert name is not None, "ids are checked where they are read"
    return name


def _utterance(block: Block, folder: str, spoken: str | None, choice: _Choice, reading: Reading) -> Utterance:
    """The manifest line of one block of the session in `folder`; `spoken` is its transcript."""
    name = _name_of(block)
    if block.code not in CODES:
        reading.flag(block.id, "unknown emotion code", block.code)
    _check_means(block, reading)
    sounds = [] if choice.keep_sounds else _SOUND.findall(spoken or "")
    text = " ".join(_SOUND.sub(" ", spoken).split()) if spoken and sounds else spoken
    emotion = CODES.get(block.code)
    return Utterance(
        id=block.id,
        corpus="iemocap",
        audio=f"{folder}/sentences/wav/{name['dialog']}/{block.id}.wav",
        speaker=f"Ses0{name['session']}{name['letter']}",
        gender=GENDERS[name["letter"]],
        fold=int(name["session"]),
        text=text,
        text_source=None if text is None else "reference",
        emotion=emotion and choice.merged(emotion),
        emotion_probs=_votes(block, choice),
        **_in_unit(block.means, block.id, "", reading),
        label_source="rated",
        ratings=[_rating(rating, block.id, choice, reading) for rating in block.raters.values()] or None,
        meta={
            "session": int(name["session"]),
            "dialog": name["dialog"],
            "scenario": name["scenario"],
            "style": STYLES[name["style"]],
            "dialog_start": block.start,
            "dialog_end": block.end,
        }
        | ({"sounds": sounds} if sounds else {}),
    )


def _in_unit(rating: dict[str, Any], identifier: str, whose: str, reading: Reading) -> dict[str, float]:
    """Those dimensions of a 1..5 rating that are there, in unit scale."""
    return {
        dimension: reading.unit(identifier, dimension + whose, rating[dimension], FIVE_POINT)
        for dimension in DIMENSIONS
        if rating.get(dimension) is not None
    }


def _rating(rating: dict[str, Any], identifier: str, choice: _Choice, reading: Reading) -> dict[str, Any]:
    """One rater as a manifest has it: `emotion` is the first label, `emotions` all if there are several."""
    named = [choice.merged(emotion) for emotion in rating.get("emotions", [])]
    return (
        {"rater": rating["rater"], "self": rating["self"]}
        | ({"emotion": named[0]} if named else {})
        | ({"emotions": named} if len(named) > 1 else {})
        | _in_unit(rating, identifier, f" of {rating['rater']}", reading)
        | ({"comment": rating["comment"]} if "comment" in rating else {})
    )


def _votes(block: Block, choice: _Choice) -> dict[str, float] | None:
    """The share of each label among all that the outside raters named."""
    named = [choice.merged(e) for rating in block.outside_raters for e in rating.get("emotions", [])]
    return {e: named.count(e) / len(named) for e in EMOTIONS if e in named} or None


def _check_means(block: Block, reading: Reading) -> None:
    """Flag a printed mean that its own outside raters contradict: a damaged or re-ordered file."""
    for dimension, printed in block.means.items():
        given = [rating[dimension] for rating in block.outside_raters if dimension in rating]
        if given and printed is not None and abs(sum(given) / len(given) - printed) > MEAN_TOLERANCE:
            values = ", ".join(f"{value:g}" for value in given)
            reading.flag(
                block.id, "mean differs from its raters", f"{dimension} = {printed:g}, raters {values}"
            )


def _add_counts(reading: Reading, choice: _Choice) -> None:
    if choice.style:
        reading.notes.append("no published count is known for the improvised or scripted dialogs alone")
        return
    counts = FOUR_CLASS_COUNTS if choice.four_class else COUNTS
    reading.expected = {f"fold{fold}": count for fold, count in enumerate(counts, start=1)}
    reading.expected["total"] = sum(counts)
    reading.expected_from = "the full release; fold k is session k"


def _add_notes(reading: Reading, choice: _Choice, passed_over: Counter[str]) -> None:
    for kind, count in sorted(passed_over.items()):
        if count:
            reading.notes.append(f"transcript lines {kind}, which nobody labelled, passed over: {count}")
    metas = [utterance.meta or {} for utterance in reading.utterances]
    if with_sounds := sum("sounds" in meta for meta in metas):
        reading.notes.append(
            "sounds such as [LAUGHTER] moved from the text to meta.sounds (--keep-sounds leaves them): "
            f"{with_sounds} utterances"
        )
    if choice.four_class:
        reading.notes.append(
            "four classes with excited counted as happiness (5,531); some papers leave excited out (4,490)"
        )
    if any(meta["style"] == "scripted" for meta in metas):
        reading.notes.append(
            "all sessions play the same scripts, so a text model meets its test words in training: report "
            "--improvised-only too"
        )
