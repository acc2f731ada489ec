"""Two formats of NIST's evaluations, one entry a line, times in seconds: CTM for words, RTTM for speakers.

CTM: recording, channel, start, duration, word, and perhaps a confidence, a type and a speaker.
RTTM: type, recording, channel, start, duration, <NA>, <NA>, speaker, ...; of its types only SPEAKER counts.
Lines that begin with `;;` are comments. Of several recordings in a file the one named like the file counts.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multimodal_ser.errors import InputError
from multimodal_ser.text_files import lines_of
from multimodal_ser.transcripts.cues import LONGEST, Cue, Problem, Transcript, Word, cues_of_words, tidy

BAD_LINE = "not an entry of this format, left out"
NO_TIME = "its times are not times, left out"
NO_TURN = "its times or its speaker cannot be, left out"
_NOT_SPEECH = ("non-lex", "misc", "noscore", "non-speech")
_ABSENT = ("<na>", "na", "unknown", "null", "-")
_CTM = re.compile(r"\S+\s+\S+\s+-?[0-9.]+\s+-?[0-9.]+\s+\S+(?:\s+(?:[0-9.eE+-]+|NA)(?:\s+\S+){0,2})?")
_RTTM = re.compile(r"SPEAKER\s+\S+\s+\S+\s+[0-9.]+\s+[0-9.]+\s+\S+\s+\S+\s+\S+")


@dataclass(frozen=True)
class Turn:
    """Somebody speaks from `start` to `end`, in seconds."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class _Entry:
    recording: str
    fields: list[str]
    line: int


def is_ctm(text: str) -> bool:
    """Whether the first lines with something in them are words with times."""
    first = [line for line in lines_of(text[:4000])[:20] if line.strip() and not line.startswith(";;")][:3]
    return bool(first) and all(_CTM.fullmatch(line.strip()) for line in first)


def is_rttm(text: str) -> bool:
    first = next((line for line in lines_of(text[:4000]) if line.strip() and not line.startswith(";;")), "")
    return _RTTM.match(first.strip()) is not None


def read_ctm(text: str, path: Path) -> Transcript:
    """Words with times, joined to cues where no pause is between them and the speaker is the same."""
    problems: list[Problem] = []
    entries = list(_entries(text, 5, 0, problems))
    entries = _of_one_recording(entries, path)
    channels = {entry.fields[1] for entry in entries}
    words = []
    for entry in entries:
        fields = entry.fields
        is_speech = len(fields) < 7 or fields[6].lower() not in _NOT_SPEECH
        if not is_speech or not tidy(fields[4]):
            continue
        if (times := _times(fields[2], fields[3])) is None:
            problems.append(Problem(f"line {entry.line}", NO_TIME, " ".join(fields[2:5])[:60]))
            continue
        speaker = _known(fields[7]) if len(fields) > 7 else None
        if speaker is None and len(channels) > 1:
            speaker = f"channel {fields[1]}"
        word = Word(tidy(fields[4]), *times, _share(fields[5]) if len(fields) > 5 else None, speaker)
        words.append((word, f"line {entry.line}"))
    if not words and text.strip():
        raise InputError(
            f"{path}: no word found; a line of a CTM file is RECORDING CHANNEL START DURATION WORD, "
            f"for example 'episode 1 12.30 0.25 hello'" + (f"; {problems[0]}" if problems else "")
        )
    return Transcript(tuple(_cues(words)), None, "ctm", tuple(problems))


def read_turns(text: str, path: Path) -> tuple[list[Turn], list[Problem]]:
    """The turns of an RTTM file in order of time, and what was left out."""
    problems: list[Problem] = []
    entries = [entry for entry in _entries(text, 8, 1, problems) if entry.fields[0].upper() == "SPEAKER"]
    turns = []
    for entry in _of_one_recording(entries, path):
        times = _times(entry.fields[3], entry.fields[4])
        is_turn = times is not None and 0 <= times[0] < times[1] <= LONGEST
        if not is_turn or not (speaker := _known(tidy(entry.fields[7]))):
            problems.append(Problem(f"line {entry.line}", NO_TURN, " ".join(entry.fields)[:60]))
        else:
            turns.append(Turn(*times, speaker))
    if not turns and text.strip():
        raise InputError(
            f"{path}: no turn found; a line of an RTTM file is SPEAKER RECORDING CHANNEL START DURATION "
            f"<NA> <NA> NAME <NA> <NA>" + (f"; {problems[0]}" if problems else "")
        )
    return sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker)), problems


def _cues(words: list[tuple[Word, str]]) -> list[Cue]:
    """Cues in order of time; speakers who talk at the same time each have their own."""
    speakers = dict.fromkeys(word.speaker for word, _ in words)
    cues = []
    for speaker in speakers:
        said = sorted((pair for pair in words if pair[0].speaker == speaker), key=lambda pair: pair[0].start)
        cues += cues_of_words([word for word, _ in said], [place for _, place in said])
    return sorted(cues, key=lambda cue: cue.start)


def _entries(text: str, fewest: int, recording: int, problems: list[Problem]) -> Iterator[_Entry]:
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip() or line.lstrip().startswith(";;"):
            continue
        fields = line.split()
        if len(fields) < fewest:
            problems.append(Problem(f"line {number}", BAD_LINE, line.strip()[:60]))
        else:
            yield _Entry(fields[recording], fields, number)


def _of_one_recording(entries: list[_Entry], path: Path) -> list[_Entry]:
    names = list(dict.fromkeys(entry.recording for entry in entries))
    if len(names) < 2:
        return entries
    if path.stem not in names:
        shown = ", ".join(name[:40] for name in names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(
            f"{path}: holds {len(names)} recordings ({shown}) and none is named '{path.stem}' like the file; "
            f"give a file with one recording"
        )
    return [entry for entry in entries if entry.recording == path.stem]


def _times(start: str, duration: str) -> tuple[float, float] | None:
    try:
        begin, length = float(start), float(duration)
    except ValueError:
        return None
    if not (math.isfinite(begin) and math.isfinite(length)) or length < 0:
        return None
    return round(begin, 6), round(begin + length, 6)


def _known(name: str) -> str | None:
    return None if name.lower() in _ABSENT else name


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
