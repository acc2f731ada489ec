"""Dimensions, emotion classes and rating scales.

Inside the package a dimension is always in unit scale, 0..1, and the three are always named and always in
the order `DIMENSIONS`. A corpus' own letters and codes are mapped to `EMOTIONS` in its reader.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import numpy as np

from multimodal_ser.errors import InputError

DIMENSIONS = ("arousal", "valence", "dominance")

EMOTIONS = (
    "neutral",
    "calm",
    "happiness",
    "excitement",
    "surprise",
    "sadness",
    "boredom",
    "fear",
    "anger",
    "frustration",
    "disgust",
    "contempt",
    "other",
    "no_agreement",
)

# Words that users and corpora write for the same things.
DIMENSION_ALIASES = {
    "activation": "arousal",
    "act": "arousal",
    "emoact": "arousal",
    "a": "arousal",
    "evaluation": "valence",
    "val": "valence",
    "emoval": "valence",
    "pleasure": "valence",
    "v": "valence",
    "dom": "dominance",
    "emodom": "dominance",
    "power": "dominance",
    "d": "dominance",
}
EMOTION_ALIASES = {
    "angry": "anger",
    "ang": "anger",
    "happy": "happiness",
    "hap": "happiness",
    "joy": "happiness",
    "joyful": "happiness",
    "sad": "sadness",
    "fearful": "fear",
    "fea": "fear",
    "anxiety": "fear",
    "afraid": "fear",
    "disgusted": "disgust",
    "dis": "disgust",
    "surprised": "surprise",
    "sur": "surprise",
    "neu": "neutral",
    "neutrality": "neutral",
    "bored": "boredom",
    "excited": "excitement",
    "exc": "excitement",
    "frustrated": "frustration",
    "fru": "frustration",
    "contemptuous": "contempt",
    "oth": "other",
    "xxx": "no_agreement",
}

# Decimals kept by the two conversions. Between them any value written with up to 11 decimals survives a
# round trip in either direction; see `Scale`.
_UNIT_DECIMALS = 15
_SCALE_DECIMALS = 12

Number = TypeVar("Number", float, np.ndarray)


@dataclass(frozen=True)
class Scale:
    """A rating scale from `low` to `high`, for example 1 to 7.

    (x - low) / span is inexact in binary, so 1 + 6 * ((3.7 - 1) / 6) need not be 3.7. Ratings are printed
    with few decimals: rounding the unit value to 15 decimals and the scale value to 12 removes the binary
    error (about 1e-16 of the span) and nothing that anybody wrote down.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(
                f"a scale runs from a lower to a higher number; received {self.low} to {self.high}"
            )

    @classmethod
    def parse(cls, text: str) -> "Scale":
        """Read "1-7", "-1..1" or "-100:100"."""
        number = r"-?\d+(?:\.\d+)?"
        match = re.fullmatch(rf"\s*({number})\s*(?:-|\.\.|:)\s*({number})\s*", text)
        if match is None:
            raise InputError(f"not a scale: '{text}'; write LOW-HIGH, for example 1-7, 0-1 or -1..1")
        return cls(float(match[1]), float(match[2]))

    def __str__(self) -> str:
        separator = ".." if self.low < 0 else "-"
        return f"{self.low:g}{separator}{self.high:g}"

    def to_unit(self, value: Number) -> Number:
        """A value of this scale as 0..1; values outside the scale are not clipped."""
        return _rounded((value - self.low) / (self.high - self.low), _UNIT_DECIMALS)

    def from_unit(self, value: Number) -> Number:
        """A unit value on this scale; values outside 0..1 are not clipped."""
        return _rounded(self.low + value * (self.high - self.low), _SCALE_DECIMALS)


UNIT = Scale(0, 1)
MSP_SCALE = Scale(1, 7)
FIVE_POINT = Scale(1, 5)


def dimension_named(name: str) -> str:
    """The dimension that `name` or one of its usual spellings means."""
    return _named(name, DIMENSIONS, DIMENSION_ALIASES, "dimension")


def emotion_named(name: str) -> str:
    """The emotion class that `name` or one of its usual spellings means."""
    return _named(name, EMOTIONS, EMOTION_ALIASES, "emotion")


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """ " (did you mean 'x'?)" for the known name most like `name`, or nothing."""
    matches = get_close_matches(name, known, n=1)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def _named(name: str, known: tuple[str, ...], aliases: dict[str, str], what: str) -> str:
    word = name.strip().lower().replace(" ", "_")
    word = aliases.get(word, word)
    if word not in known:
        hint = nearest(word, [*known, *aliases])
        raise InputError(f"unknown {what} '{name}'{hint}; known: {', '.join(known)}")
    return word


def _rounded(value: Number, decimals: int) -> Number:
    return np.round(value, decimals) if isinstance(value, np.ndarray) else round(value, decimals)
