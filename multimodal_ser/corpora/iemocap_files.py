"""The grammar of IEMOCAP's evaluation and transcription files.

An evaluation file has one block per utterance, behind a comment line that starts with "%":

    [140.2250 - 145.6000]<TAB>Ses01F_impro05_F019<TAB>ang<TAB>[1.5000, 4.0000, 4.5000]
    C-E4:<TAB>Anger; Frustration;<TAB>()
    A-E4:<TAB>val 1; act 4; dom  5;<TAB>(threatening, belligerent)

Times are seconds into the dialog; brackets are [valence, activation, dominance] on 1..5, the mean over the
outside raters E*. C lines are categories, A lines attributes; F* and M* are the actors rating themselves. A
transcription file has lines `Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.` Numbers stay on 1..5 here.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multimodal_ser.corpora.reading import Reading, finite_number, read_text
from multimodal_ser.labels import EMOTIONS

BRACKET_ORDER = ("valence", "arousal", "dominance")
CODES = {
    "neu": "neutral",
    "hap": "happiness",
    "exc": "excitement",
    "sad": "sadness",
    "ang": "anger",
    "fru": "frustration",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "other",
    "xxx": "no_agreement",
}

_DIALOG = r"Ses0(?P<session>[1-5])[FM]_(?P<scenario>(?P<style>impro|script)\d\d(?:_\d)?[a-z]?)"
DIALOG = re.compile(_DIALOG)
UTTERANCE = re.compile(rf"(?P<dialog>{_DIALOG})_(?P<letter>[FM])\d{{3}}")
_WORDS = {"neutral state": "neutral", "excited": "excitement"}  # raters' words that are not in EMOTIONS
_RATING_WORDS = {"val": "valence", "act": "arousal", "dom": "dominance"}
_HEAD = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)\s+\[([^\]]*)\]")
_RATER = re.compile(r"(?P<kind>[CA])-(?P<rater>[EFM]\d+)\s*:\s*(?P<value>[^(]*)(?:\((?P<comment>.*)\))?")
_RATING = re.compile(r"(val|act|dom)\s+(-?\d+(?:\.\d+)?)")
_SPOKEN = re.compile(r"\s*(?P<id>Ses\S+)\s+\[[^\]]*\]\s*:(?P<text>.*)")
_UNLABELLED = re.compile(r"Ses0\d[FM]_\w+_[FM]XX\d+")


@dataclass
class Block:
    """One utterance of an evaluation file: its head line and the raters below it."""

    id: str
    start: float  # seconds into the dialog
    end: float
    code: str
    means: dict[str, float | None]
    raters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def outside_raters(self) -> list[dict[str, Any]]:
        """What those said who are not the actors."""
        return [rating for rating in self.raters.values() if not rating["self"]]


def read_evaluation(path: Path, reading: Reading) -> Iterator[Block]:
    """The utterances of one evaluation file; what cannot be understood goes into `reading`."""
    block: Block | None = None
    is_lost = False  # the raters below an unreadable head go with it
    for number, raw in enumerate(read_text(path)[0].split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("%"):
            continue
        if line.startswith("["):
            if block:
                yield block
            block = _read_head(line, f"{path.name}:{number}", reading)
            is_lost = block is None
        elif (rater := _RATER.fullmatch(line)) and block:
            _add_rating(block, rater, reading)
        elif not is_lost:
            reading.flag(
                block.id if block else path.name, "line not understood", f"line {number}: {line[:80]}"
            )
    if block:
        yield block


def read_transcription(path: Path, reading: Reading, passed_over: Counter[str]) -> dict[str, str]:
    """The words of each utterance by id; lines that nobody labelled are counted in `passed_over`.

    Lines are never matched by position: those without an id ("M: Yeah.") would shift all that follow.
    """
    content, encoding = read_text(path)
    if encoding != "utf-8-sig":
        reading.notes.append(f"the transcription {path.name} is not UTF-8, read as {encoding}")
    texts: dict[str, str] = {}
    for line in content.split("\n"):
        spoken = _SPOKEN.fullmatch(line.rstrip("\r"))
        if spoken is None:
            passed_over["without an id"] += bool(line.strip())
        elif _UNLABELLED.fullmatch(spoken["id"]):
            passed_over["with an XX id"] += 1
        elif spoken["id"] in texts:
            reading.flag(spoken["id"], "transcribed twice, the first is kept", spoken["text"].strip())
        else:
            texts[spoken["id"]] = spoken["text"].strip()
    return texts


def _read_head(line: str, where: str, reading: Reading) -> Block | None:
    head = _HEAD.fullmatch(line)
    if head is None:
        reading.drop(where, "label line not understood", line[:80])
        return None
    start, end, identifier, code, bracket = head.groups()
    if UTTERANCE.fullmatch(identifier) is None:
        reading.drop(identifier, "id not of the form Ses01F_impro01_F000", where)
        return None
    values = [finite_number(part) for part in bracket.split(",")]
    if len(values) != len(BRACKET_ORDER) or None in values:
        reading.flag(identifier, "dimensions missing", f"[{bracket}]")
    means = dict(zip(BRACKET_ORDER, values, strict=True)) if len(values) == len(BRACKET_ORDER) else {}
    return Block(identifier, float(start), float(end), code.lower(), means)


def _add_rating(block: Block, line: re.Match[str], reading: Reading) -> None:
    """Add a C or A line to what its rater said; a rating that is missing stays missing."""
    name = line["rater"]
    rating = block.raters.setdefault(name, {"rater": name, "self": not name.startswith("E")})
    words = [word.strip().lower() for word in line["value"].split(";") if word.strip()]
    if line["kind"] == "A":
        rating |= {_RATING_WORDS[word]: float(value) for word, value in _RATING.findall(line["value"])}
    elif words:
        emotions = [_WORDS.get(word, word) for word in words]
        for position, emotion in enumerate(emotions):
            if emotion not in EMOTIONS:
                reading.flag(block.id, "rater's word counted as other", f"{name}: {emotion}")
                emotions[position] = "other"
        rating["emotions"] = emotions
    if comment := (line["comment"] or "").strip():
        rating["comment"] = "; ".join(filter(None, (rating.get("comment"), comment)))
