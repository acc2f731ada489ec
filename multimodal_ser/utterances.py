"""One utterance and what may stand in its fields.

Times are seconds; dimensions are in unit scale, 0..1; `null` means "not annotated", so a `text` of `""` is an
utterance in which no word is spoken and a `text` of `null` one that nobody transcribed.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from multimodal_ser.labels import DIMENSIONS, EMOTIONS, nearest

GENDERS = ("female", "male", "other")
LABEL_SOURCES = ("rated", "acted", "proxy", "planted", "teacher")
_SPLIT = re.compile(r"[a-z][a-z0-9_]*")
# Not absolute, no drive letter, no backslash, and no ".." as a whole part.
_SAFE_PATH = re.compile(r"(?!/|[A-Za-z]:)(?!(?:[^\0]*/)?\.\.(?:/|$))[^\\\0]+")
_SPLITS_EXPECTED = ("train", "development", "test", "test1", "test2", "test3")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech, or one sentence of text, and what is known about it."""

    id: str
    corpus: str
    audio: str | None = None  # relative to the audio root; None = text only
    start: float | None = None  # seconds into `audio`; None = its beginning
    end: float | None = None  # seconds into `audio`; None = its end
    speaker: str | None = None  # None = unknown, so it may be anybody
    gender: str | None = None
    split: str | None = None  # train, development, or the name of a test set
    fold: int | None = None  # in which fold of a cross-validation this utterance is tested, from 1
    text: str | None = None
    text_source: str | None = None  # "reference", "asr:<model>", ...
    transcripts: dict[str, str] | None = None  # every transcript there is, by source; `text` is one of them
    emotion: str | None = None
    emotion_probs: dict[str, float] | None = None  # share of votes per class
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None
    label_source: str | None = None  # who says so: see LABEL_SOURCES
    ratings: list[dict[str, Any]] | None = None  # one object per rater, dimensions in unit scale
    frame_labels: list[int] | None = None  # one class per encoder frame
    meta: dict[str, Any] | None = None  # facts of one corpus: session, sentence, recording ...


FIELDS = tuple(field.name for field in fields(Utterance))


def problems_of(utterance: Utterance) -> list[str]:
    """Everything that is wrong with the values of one utterance; nothing if it is valid."""
    problems: list[str] = []
    for value, (name, is_valid, allowed) in zip(_values_of(utterance), _FIELD_RULES, strict=True):
        if value is not None and not is_valid(value):
            problems.append(f"{name} = {shown(value)}: {allowed}{_hint(name, value)}")
    if not utterance.id or not utterance.corpus:
        problems.append("id and corpus must not be empty or null")
    if utterance.audio is None and utterance.text is None:
        problems.append("audio and text are both null: there is nothing to score")
    if not problems and utterance.end is not None and utterance.end <= (utterance.start or 0.0):
        problems.append(f"end = {utterance.end}: it must be later than start = {utterance.start or 0.0}")
    return problems


def is_safe_path(value: Any) -> bool:
    """Whether `value` is a relative path with forward slashes that stays inside its root."""
    return isinstance(value, str) and _SAFE_PATH.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_unit(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_distribution(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(name in EMOTIONS and _is_unit(share) for name, share in value.items())
        and abs(sum(value.values()) - 1) < 1e-3
    )


def _is_ratings(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(rating, dict)
        and all(rating.get(name) is None or _is_unit(rating[name]) for name in DIMENSIONS)
        for rating in value
    )


_UNIT_ALLOWED = "a number in unit scale, 0..1 (convert 1..7 ratings by (x-1)/6, 1..5 ratings by (x-1)/4)"
_FIELD_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("id", _is_text, "text"),
    ("corpus", _is_text, "text"),
    ("audio", is_safe_path, "a path below the audio root, with / between folders and no '..'"),
    ("start", _is_time, "seconds, not negative"),
    ("end", _is_time, "seconds, not negative"),
    ("speaker", _is_text, "text"),
    ("gender", lambda value: value in GENDERS, f"one of {', '.join(GENDERS)}, or null"),
    ("split", lambda value: _is_text(value) and _SPLIT.fullmatch(value) is not None
     and value not in ("validation", "dev", "val"),
     "train, development or a test set such as test1, in lower case"),
    ("fold", lambda value: isinstance(value, int) and value >= 1, "a whole number from 1"),
    ("text", _is_text, "text"),
    ("text_source", _is_text, "text"),
    ("transcripts", lambda value: isinstance(value, dict) and all(map(_is_text, value.values())),
     "an object of sources and texts"),
    ("emotion", lambda value: value in EMOTIONS, f"one of {', '.join(EMOTIONS)}, or null"),
    ("emotion_probs", _is_distribution, "an object of emotion names and shares that add up to 1"),
    ("arousal", _is_unit, _UNIT_ALLOWED),
    ("valence", _is_unit, _UNIT_ALLOWED),
    ("dominance", _is_unit, _UNIT_ALLOWED),
    ("label_source", lambda value: value in LABEL_SOURCES, f"one of {', '.join(LABEL_SOURCES)}"),
    ("ratings", _is_ratings, "a list of objects, one per rater, with dimensions in 0..1"),
    ("frame_labels", lambda value: isinstance(value, list) and all(type(x) is int for x in value),
     "a list of whole numbers"),
    ("meta", lambda value: isinstance(value, dict), "an object"),
)  # fmt: skip
_values_of = attrgetter(*(name for name, _, _ in _FIELD_RULES))


def _hint(name: str, value: Any) -> str:
    if name == "split" and isinstance(value, str):
        if value.lower() in ("validation", "dev", "val", "valid"):
            return " (did you mean 'development'?)"
        return nearest(value.lower(), _SPLITS_EXPECTED)
    if name == "emotion" and isinstance(value, str):
        return nearest(value.lower(), EMOTIONS)
    return ""


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."
