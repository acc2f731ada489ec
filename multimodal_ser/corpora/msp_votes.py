"""What the raters of the two MSP corpora wrote, as ratings in unit scale and shares of votes.

- A primary vote is one of eight names, or "Other", or "Other-" and words of the rater's own. Whatever is
  none of the eight counts as `other`, as it does in the corpus' own consensus letter O, also where the
  rater's words name a class ("Other-Frustrated"); the words stay in the rating as `other`.
- Secondary votes are a comma list over sixteen tags, in which "Dissapointed" is misspelt, and free text
  that may itself hold commas. They become a list with the tags in lower case.
- Free text may hold semicolons, so a line is cut from its right-hand end, where the numbers stand. These
  are named and in the order A, V, D; they are read by name.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

from multimodal_ser.corpora.reading import Reading
from multimodal_ser.labels import DIMENSIONS, EMOTIONS, Scale

LETTERS = {
    "A": "anger",
    "S": "sadness",
    "H": "happiness",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
    "X": "no_agreement",
}
CLASSES = {
    "angry": "anger",
    "sad": "sadness",
    "happy": "happiness",
    "surprise": "surprise",
    "fear": "fear",
    "disgust": "disgust",
    "contempt": "contempt",
    "neutral": "neutral",
}
_MORE_TAGS = "amused frustrated depressed concerned disappointed excited confused annoyed"
TAGS = frozenset([*CLASSES, *_MORE_TAGS.split()])
_MISSPELT = {"dissapointed": "disappointed"}
_MISSING = ("", "nan", "na", "n/a", "none", "null", "unknown", "-")
_NUMBER_FIELD = re.compile(r"([AVDN]):\s*(\S*)")

Ratings = dict[str, list[dict[str, Any]]]  # per clip, by the stem of its file name: one object per rater


class Units:
    """Printed numbers to unit scale; each printed form is converted once, since few differ."""

    def __init__(self, reading: Reading, scale: Scale) -> None:
        self.reading = reading
        self.scale = scale
        self._known: dict[str, float | None] = dict.fromkeys(_MISSING)

    def __call__(self, identifier: str, name: str, text: str) -> float | None:
        """The value of `text`, or None where there is none; one out of scale is clamped and flagged."""
        if text in self._known:
            return self._known[text]
        if known(text) is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = float("inf")
        if not isfinite(value):
            self.reading.flag(identifier, "label is not a number", f"{name} = {text}")
            return None
        if not self.scale.low <= value <= self.scale.high:
            return self.reading.unit(identifier, name, value, self.scale)
        self._known[text] = self.scale.to_unit(value)
        return self._known[text]


def stem_of(file: str) -> str:
    """A clip's file name without .wav or .avi."""
    file = file.strip()
    return file[:-4] if file[-4:].lower() in (".wav", ".avi") else file


def known(text: str) -> str | None:
    """`text`, or None where a corpus says in words that it does not know."""
    text = text.strip()
    return None if text.lower() in _MISSING else text


def emotion_of(reading: Reading, identifier: str, letter: str) -> str | None:
    """The class of a consensus letter; an unknown one is flagged."""
    found = LETTERS.get(letter.strip().upper())
    if found is None and known(letter) is not None:
        reading.flag(identifier, "unknown emotion letter", f"'{letter}'; known: {' '.join(LETTERS)}")
    return found


def fields_of(line: str) -> tuple[list[str], dict[str, str]]:
    """The fields of "X; Neutral; ; A:4; V:4; D:4;" before its numbers, and the numbers by letter."""
    fields = [field.strip() for field in line.split(";")]
    while fields and not fields[-1]:
        fields.pop()
    numbers = {}
    while fields and (match := _NUMBER_FIELD.fullmatch(fields[-1])):
        numbers[match[1]] = match[2]
        fields.pop()
    return fields, numbers


def add_line(ratings: Ratings, stem: str, line: str, units: Units) -> None:
    """Add the rating that "WORKER; Neutral; Neutral,Concerned; A:4; V:4; D:4;" says."""
    fields, numbers = fields_of(line)
    if len(fields) < 2 or not numbers:
        units.reading.flag(stem, "rating not understood", line.strip())
        return
    primary, secondary = _parted(fields[1:])
    add_vote(ratings, stem, [fields[0], primary, secondary], [numbers.get(name, "") for name in "AVD"], units)
    if "N" in numbers:
        ratings[stem][-1]["naturalness"] = units(stem, "naturalness", numbers["N"])


def add_vote(ratings: Ratings, stem: str, words: Sequence[str], numbers: Sequence[str], units: Units) -> None:
    """Add one rating to those of a clip: rater, primary, secondary; arousal, valence, dominance."""
    worker, primary, secondary = words
    emotion, other = _class_of(primary)
    rating: dict[str, Any] = {"worker": worker.strip(), "emotion": emotion}
    if other:
        rating["other"] = other
    if tags := _tags_of(secondary):
        rating["secondary"] = list(tags)
    for dimension, text in zip(DIMENSIONS, numbers, strict=True):
        rating[dimension] = units(stem, dimension, text)
    ratings.setdefault(stem, []).append(rating)


def vote_shares(ratings: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Share of the primary votes per class, in the order of EMOTIONS; None without a vote."""
    votes = Counter(rating["emotion"] for rating in ratings if rating["emotion"] is not None)
    total = votes.total()
    return {name: votes[name] / total for name in EMOTIONS if name in votes} if total else None


def _parted(fields: Sequence[str]) -> tuple[str, str]:
    """Primary and secondary of what stands between rater and numbers; free text may have cut either."""
    if not fields[0].lower().startswith("other"):
        return fields[0], ";".join(fields[1:])
    first = fields[-1].split(",")[0].strip().lower()
    is_secondary = not first or first in TAGS or first in _MISSPELT or first.startswith("other")
    if len(fields) > 1 and is_secondary:
        return ";".join(fields[:-1]), fields[-1]
    return ";".join(fields), ""


@lru_cache(maxsize=65536)
def _class_of(primary: str) -> tuple[str | None, str | None]:
    """The class of a primary vote, and the rater's own words if there are any."""
    word = primary.strip()
    if not word:
        return None, None
    if found := CLASSES.get(word.lower()):
        return found, None
    if word.lower().startswith("other"):
        return "other", word[len("other") :].lstrip(" -").strip() or None
    return "other", word


@lru_cache(maxsize=65536)
def _tags_of(secondary: str) -> tuple[str, ...]:
    tags: list[str] = []
    for part in filter(None, (part.strip() for part in secondary.split(","))):
        tag = _MISSPELT.get(part.lower(), part.lower())
        if tag in TAGS:
            tags.append(tag)
        elif tags and tags[-1].lower().startswith("other"):  # a comma inside free text
            tags[-1] += f", {part}"
        else:
            tags.append(part)
    return tuple(tags)
