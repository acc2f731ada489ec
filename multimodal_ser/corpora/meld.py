"""MELD: 13,708 utterances of the television series Friends, with seven emotions and three sentiments.

Origin: Poria et al. 2019, "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations".
Licence: GPL-3.0 repository; the dialogue belongs to its owners, so neither text nor clips may be passed on.
To obtain it: the three *_sent_emo.csv of declare-lab/MELD on GitHub (data/MELD), and MELD.Raw.tar.gz, which
holds train.tar.gz, dev.tar.gz and test.tar.gz; unpack all of them below one folder.
Split: official (train, development, test). The six main speakers are in all three.
Labels: emotion from three annotators who saw the video; no dimensions. joy is happiness here.

Traps handled: (dialogue, utterance) is unique only within a split, so ids are train_dia0_utt0; utterance
numbers have gaps and "Sr No." repeats, so neither is used as a position; hours of one or two digits, decimals
of two or three; clips of no length, under 0.1 s or over 30 s (flagged: such times cannot be right); clips
that every copy lacks or has broken; folders named differently by each unpacking; wav beside mp4 (the wav is
taken); files named final_videos_test..., "._..." or without a row (left aside); C1 control characters where
Windows-1252 quotes should be; rows spoken by several people (no speaker); unnamed roles, who are other people
in each episode. 48 kHz stereo or 5.1 is left to the audio decoder; many clips have a laugh track.
"""

import argparse
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.reading import Reading, checked_folder, natural, read_table, read_text, relative
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header
from multimodal_ser.utterances import Utterance

SPLITS = {"train": "train", "dev": "development", "test": "test"}
ROWS = {"train": 9989, "development": 1109, "test": 2610}
CLIPS = {"train": 9988, "development": 1108, "test": 2610}  # that can be read, of the official archive
SHORTEST, LONGEST = 0.1, 30.0  # seconds; a clip whose times say otherwise was cut wrongly
NO_TIME, TOO_SHORT, TOO_LONG = (
    "clip of no length by its times",
    f"clip under {SHORTEST:g} s by its times",
    f"clip over {LONGEST:g} s by its times",
)
BROKEN = {"train_dia125_utt3"}  # declare-lab/MELD issues 39, 52
MISSING = {"dev_dia110_utt7"}  # declare-lab/MELD issues 22, 27
DISTURBED = {  # declare-lab/MELD issues 9, 20
    f"train_{clip}"
    for clip in ("dia164_utt5", "dia529_utt2", "dia682_utt1", "dia793_utt0", "dia1008_utt1", "dia1029_utt1")
}
EMOTIONS = {
    "neutral": "neutral",
    "joy": "happiness",
    "surprise": "surprise",
    "anger": "anger",
    "sadness": "sadness",
    "disgust": "disgust",
    "fear": "fear",
}
MAIN_SPEAKERS = {
    "Chandler": "male",
    "Joey": "male",
    "Monica": "female",
    "Phoebe": "female",
    "Rachel": "female",
    "Ross": "male",
}
SAME_SPEAKER = {"Phoebe Sr": "Phoebe Sr.", "Dr. Ledbetter": "Dr. Leedbetter"}
SEVERAL_SPEAKERS = {"All", "Both", "The Guys", "Her-Friends", "an"}  # "an" is a cut-off word
# Names that the corpus gives in several episodes to whoever plays that part.
ROLES = {"Customer", "Director", "Flight Attendant", "Girl", "Guy", "Man", "Nurse", "Receptionist", "Student",
         "The Casting Director", "The Director", "The Head Librarian", "The Interviewer", "Waitress", "Woman",
         }  # fmt: skip
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
           "StartTime", "EndTime")  # fmt: skip
SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".mp4", ".mkv", ".avi")  # the earlier, the better
LISTED = 5  # examples in a note

_FOLDER_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "development"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_CLIP = re.compile(r"dia(\d+)_utt(\d+)")
_TIME = re.compile(r"(\d{1,2}):(\d\d):(\d\d)[,.](\d{1,3})")
# U+0080..U+009F are no characters of a sentence: bytes of Windows-1252 that were taken for Latin-1.
_FROM_C1 = {code: bytes([code]).decode("cp1252", "replace") for code in range(0x80, 0xA0)}


@dataclass
class _Copy:
    """What lies below the folder."""

    tables: dict[str, list[Path]] = field(default_factory=dict)  # by train, dev, test; the nearest first
    clips: dict[str, Path] = field(default_factory=dict)  # by id
    archives: list[str] = field(default_factory=list)
    left_aside: dict[str, list[str]] = field(default_factory=dict)  # by reason


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this corpus."""
    parser.add_argument(
        "--text-only", action="store_true", help="take the words only, even if there are clips"
    )
    parser.add_argument(
        "--drop-flagged",
        action="store_true",
        help="leave out what is flagged: clips whose times cannot be right or whose sound is disturbed",
    )


def read(folder: str | os.PathLike, text_only: bool = False, drop_flagged: bool = False) -> Reading:
    """Read MELD from a folder that holds the three csv and, at any depth, the clips."""
    root = checked_folder(folder)
    copy = _look_around(root)
    if not copy.tables:
        hint = f"; unpack {', '.join(copy.archives[:3])} first" if copy.archives else ""
        raise InputError(
            f"{root}: no train_sent_emo.csv, dev_sent_emo.csv or test_sent_emo.csv in it or below it; they "
            f"are in data/MELD of the repository declare-lab/MELD{hint}"
        )
    with_audio = bool(copy.clips) and not text_only
    licence = "GPL-3.0 repository; television dialogue, not to be passed on"
    reading = Reading(Header("meld", audio_root=str(root) if with_audio else None, licence=licence))
    reading.expected = dict(CLIPS if with_audio else ROWS)
    reading.expected["total"] = sum(reading.expected.values())
    reading.expected_from = "the three official csv files" + (
        ", less one broken clip and one that every copy lacks" if with_audio else ""
    )
    for short in SPLITS:
        if short in copy.tables:
            _read_split(short, copy, root, with_audio, reading)
        else:
            reading.notes.append(f"there is no {short}_sent_emo.csv: split '{SPLITS[short]}' is missing")
    if drop_flagged:
        _drop_flagged(reading)
    _add_notes(reading, copy, with_audio, text_only)
    return reading


def _look_around(root: Path) -> _Copy:
    """Find tables and clips; which split a clip is of, the nearest folder says that names one."""
    copy = _Copy()
    seen = set()  # links are followed, since clips often lie on another disk; not in a circle
    for folder, subfolders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        parts = Path(folder).relative_to(root).parts
        words = [word for part in reversed(parts) for word in re.split(r"[^a-z]+", part.lower())]
        split = next((_FOLDER_WORDS[word] for word in words if word in _FOLDER_WORDS), None)
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith("."):
                continue
            if table := re.fullmatch(r"(train|dev|test)_sent_emo\.csv", name.lower()):
                copy.tables.setdefault(table[1], []).append(path)
            elif path.suffix.lower() in SUFFIXES:
                _add_clip(path, split, copy)
            elif name.lower().endswith((".tar.gz", ".tgz", ".zip")):
                copy.archives.append(name)
    for paths in copy.tables.values():
        paths.sort(key=lambda path: (len(path.parts), path))
    return copy


def _add_clip(path: Path, split: str | None, copy: _Copy) -> None:
    if path.name.startswith("final_videos_test"):
        reason = "named final_videos_test..."
    elif not (clip := _CLIP.fullmatch(path.stem)):
        reason = "not named dia..._utt..."
    elif split is None:
        reason = "in a folder that does not say train, dev or test"
    else:
        identifier = f"{split}_dia{int(clip[1])}_utt{int(clip[2])}"
        other = copy.clips.get(identifier)
        if other is None or _rank(path) < _rank(other):
            copy.clips[identifier] = path
        return
    copy.left_aside.setdefault(reason, []).append(path.name)


def _rank(path: Path) -> int:
    return SUFFIXES.index(path.suffix.lower())


def _read_split(short: str, copy: _Copy, root: Path, with_audio: bool, reading: Reading) -> None:
    table, *others = copy.tables[short]
    if different := [path for path in others if path.read_bytes() != table.read_bytes()]:
        reading.notes.append(
            f"{relative(table, root)} is read; {relative(different[0], root)} differs from it"
        )
    repaired = 0
    has_clips = any(identifier.startswith(f"{short}_") for identifier in copy.clips)
    if with_audio and not has_clips:
        hint = f"; unpack {short}.tar.gz" if f"{short}.tar.gz" in copy.archives else ""
        reading.notes.append(
            f"split '{SPLITS[short]}' has not one clip: is the archive unpacked whole?{hint}"
        )
    for number, row in enumerate(read_table(table, COLUMNS), start=2):
        if not (row["Dialogue_ID"].strip().isdecimal() and row["Utterance_ID"].strip().isdecimal()):
            where = f"{table.name}, row {number}"
            reading.drop(where, "no dialogue or utterance number", row["Utterance"], split=SPLITS[short])
            continue
        identifier = f"{short}_dia{int(row['Dialogue_ID'])}_utt{int(row['Utterance_ID'])}"
        clip = copy.clips.pop(identifier, None)
        repaired += (text := row["Utterance"].translate(_FROM_C1)) != row["Utterance"]
        if with_audio and (reason := _why_no_clip(identifier, clip)):
            failed = identifier not in BROKEN | MISSING
            reading.drop(identifier, reason, split=SPLITS[short], failed=failed)
            continue
        audio = relative(clip, root) if with_audio and clip else None
        reading.utterances.append(_utterance(identifier, row, text.strip(), audio, reading))
    if repaired:
        reading.notes.append(f"{table.name}: Windows-1252 characters repaired in {repaired} rows")
    if (encoding := read_text(table)[1]) != "utf-8-sig":
        reading.notes.append(f"{table.name} is not UTF-8, read as {encoding}")


def _why_no_clip(identifier: str, clip: Path | None) -> str | None:
    if identifier in BROKEN:
        return "clip broken in the official archive"
    if clip is None:
        return "clip missing" + (" in the official archive" if identifier in MISSING else "")
    return None


def _utterance(
    identifier: str, row: dict[str, str], text: str, audio: str | None, reading: Reading
) -> Utterance:
    emotion = row["Emotion"].strip().lower()
    if emotion not in EMOTIONS:
        reading.flag(identifier, "unknown emotion", row["Emotion"])
    season, episode = (_whole(row[name], name, identifier, reading) for name in ("Season", "Episode"))
    start, end = (_seconds(row[name], name, identifier, reading) for name in ("StartTime", "EndTime"))
    if start is not None and end is not None:
        _flag_length(identifier, round(end - start, 3), reading)
    if audio and identifier in DISTURBED:
        reading.flag(identifier, "sound reported as disturbed", "declare-lab/MELD issue 9")
    name = " ".join(row["Speaker"].translate(_FROM_C1).split())
    speaker = _speaker(name, season, episode)
    meta: dict[str, Any] = {
        "dialogue": int(row["Dialogue_ID"]),
        "utterance": int(row["Utterance_ID"]),
        "season": season,
        "episode": episode,
        "episode_start": start,
        "episode_end": end,
        "sentiment": row["Sentiment"].strip().lower(),
    }
    return Utterance(
        id=identifier,
        corpus="meld",
        audio=audio,
        speaker=speaker,
        gender=MAIN_SPEAKERS.get(name),
        split=SPLITS[identifier.split("_")[0]],
        text=text,
        text_source="reference",
        emotion=EMOTIONS.get(emotion),
        label_source="rated",
        meta=meta | ({} if speaker == name else {"speaker_name": name}),
    )


def _speaker(name: str, season: int | None, episode: int | None) -> str | None:
    """One name per person: None for several at once, a role only within its episode."""
    if not name or name in SEVERAL_SPEAKERS or " and " in name:
        return None
    if name in ROLES:
        return f"{name}, season {season} episode {episode}"
    return SAME_SPEAKER.get(name, name)


def _flag_length(identifier: str, seconds: float, reading: Reading) -> None:
    reason = NO_TIME if seconds <= 0 else TOO_SHORT if seconds < SHORTEST else TOO_LONG
    if not SHORTEST <= seconds <= LONGEST:
        reading.flag(identifier, reason, f"{seconds:g} s")


def _whole(text: str, column: str, identifier: str, reading: Reading) -> int | None:
    if text.strip().isdecimal():
        return int(text)
    reading.flag(identifier, f"{column} is not a number", text)
    return None


def _seconds(text: str, column: str, identifier: str, reading: Reading) -> float | None:
    """Seconds into the episode, from H:MM:SS,mmm or HH:MM:SS,mmm.

    Three rows have two decimals ("00:05:11,82"): the last zero is missing, since subtitles that follow each
    other leave a fifth of a second, and the next one here starts at 12,020.
    """
    time = _TIME.fullmatch(text.strip())
    if time is None:
        reading.flag(identifier, f"{column} is not H:MM:SS,mmm", text)
        return None
    hours, minutes, seconds = map(int, time.groups()[:3])
    return (((hours * 60 + minutes) * 60 + seconds) * 1000 + int(time[4].ljust(3, "0"))) / 1000


def _drop_flagged(reading: Reading) -> None:
    remarks = {remark.id: remark for remark in reversed(reading.flagged)}
    for utterance in reading.utterances:
        if remark := remarks.get(utterance.id):
            reading.drop(remark.id, remark.reason, remark.detail, split=utterance.split, failed=False)
    reading.utterances = [u for u in reading.utterances if u.id not in remarks]
    reading.flagged = []


def _add_notes(reading: Reading, copy: _Copy, with_audio: bool, text_only: bool) -> None:
    if not with_audio:
        why = "--text-only was given" if text_only else "there are no clips below the folder"
        reading.notes.append(f"text only: {why}")
        return
    if copy.clips:
        copy.left_aside["without a row in the csv"] = list(copy.clips)
    for reason, names in sorted(copy.left_aside.items()):
        shown = ", ".join(sorted(names, key=natural)[:LISTED]) + (", ..." if len(names) > LISTED else "")
        reading.notes.append(f"{len(names)} clips left aside, {reason}: {shown}")
    kinds = Counter(Path(u.audio or "").suffix.lower() for u in reading.utterances)
    reading.notes.append(
        "clips taken: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    )
