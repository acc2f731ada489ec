"""What scoring an episode gives, and `<name>.emotion.json`, the file that holds all of it.

The file is a superset of Whisper's JSON: `text`, `language` and `segments` with `id, start, end, text` are
where Whisper's readers expect them. Beside them, per segment:

    speaker         as the transcript or the diarization names it, or null
    dimensions      {arousal | valence | dominance: {fused, audio, text, low, high}}; `fused` is the best
                    reading of both, `audio` and `text` that of voice and of words alone, `low` and `high` the
                    conformal interval around `fused`; null where the model or the words give none
    disagreement    mean absolute difference of `audio` and `text` over the dimensions, in the stated scale
    text_source     where the words came from; "untrusted" if they were not used, "none" if there are none
    flags           why the words were not used (`transcripts/trust.py`)
    is_draft        true where a draft model's word was enough (`cascade.py`); else it is not there

Values are those of the model: neither clipped nor smoothed. Times are seconds.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multimodal_ser.cache import write_json
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, UNIT, Scale

SCHEMA, SCHEMA_VERSION = "multimodal_ser.episode", 1
SUFFIX = ".emotion.json"
UNTRUSTED, NO_WORDS = "untrusted", "none"  # instead of a source
DECIMALS = 6


@dataclass(frozen=True)
class Values:
    """One dimension of one segment; None = not known."""

    fused: float | None = None
    audio: float | None = None
    text: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scored:
    """One segment with what the model says about it."""

    start: float
    end: float
    text: str
    speaker: str | None
    dimensions: Mapping[str, Values]
    text_source: str
    flags: tuple[str, ...] = ()
    is_draft: bool = False  # from the small model of a cascade

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def disagreement(self) -> float | None:
        """How far voice and words are apart."""
        apart = [
            abs(values.audio - values.text)
            for values in self.dimensions.values()
            if values.audio is not None and values.text is not None
        ]
        return sum(apart) / len(apart) if apart else None

    def to_scale(self, old: Scale, new: Scale) -> "Scored":
        return replace(self, dimensions={n: _converted(v, old, new) for n, v in self.dimensions.items()})


@dataclass(frozen=True)
class Timeline:
    """A scored episode."""

    segments: tuple[Scored, ...]
    seconds: float  # of the recording
    scale: Scale
    language: str | None
    audio: Mapping[str, Any]  # file, path (from the output folder), hash
    model: Mapping[str, Any]  # name, hash, readings, coverage of the intervals
    transcript: Mapping[str, Any]  # source, file, problems
    policy: Mapping[str, Any]  # how segments were made, and all numbers of it
    summary: Mapping[str, Any]  # see `summaries.summarise`; in the same scale
    key: str = ""  # of everything that the result depends on

    def to_scale(self, scale: Scale) -> "Timeline":
        """The same in another scale; the summary is left out, it has to be made again."""
        segments = tuple(segment.to_scale(self.scale, scale) for segment in self.segments)
        return replace(self, segments=segments, scale=scale, summary={})


def write(path: str | os.PathLike, timeline: Timeline) -> None:
    """Write `<name>.emotion.json`."""
    write_json(path, as_json(timeline))


def as_json(timeline: Timeline) -> dict[str, Any]:
    """The content of the file."""
    segments = [segment_as_json(number, segment) for number, segment in enumerate(timeline.segments)]
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "text": " ".join(segment.text for segment in timeline.segments if segment.text),
        "language": timeline.language,
        "duration": timeline.seconds,
        "scale": str(timeline.scale),
        "audio": dict(timeline.audio),
        "model": dict(timeline.model),
        "transcript": dict(timeline.transcript),
        "policy": dict(timeline.policy),
        "summary": dict(timeline.summary),
        "segments": segments,
        "key": timeline.key,
    }


def segment_as_json(number: int, segment: Scored) -> dict[str, Any]:
    """One of the file's segments."""
    return {
        "id": number,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "speaker": segment.speaker,
        "dimensions": {name: _rounded(vars(values)) for name, values in segment.dimensions.items()},
        "disagreement": _round(segment.disagreement),
        "text_source": segment.text_source,
        "flags": list(segment.flags),
        **({"is_draft": True} if segment.is_draft else {}),
    }


def read(path: str | os.PathLike) -> Timeline:
    """Read `<name>.emotion.json`; what is not such a file is an `InputError` that says why."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); `score` writes this file") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InputError(f"{path}: not the result of `score`: its schema is not {SCHEMA!r}")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema version {found.get('schema_version')!r}; this version of multimodal_ser reads "
            f"{SCHEMA_VERSION}; score the episode again"
        )
    try:
        return _parsed(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: incomplete or damaged ({error!r}); score the episode again") from None


def _parsed(found: dict[str, Any]) -> Timeline:
    segments = tuple(
        Scored(
            segment["start"],
            segment["end"],
            segment["text"],
            segment["speaker"],
            {name: Values(**segment["dimensions"][name]) for name in DIMENSIONS},
            segment["text_source"],
            tuple(segment["flags"]),
            segment.get("is_draft", False),
        )
        for segment in found["segments"]
    )
    parts = {name: found[name] for name in ("audio", "model", "transcript", "policy", "summary", "key")}
    return Timeline(segments, found["duration"], Scale.parse(found["scale"]), found["language"], **parts)


def _converted(values: Values, old: Scale, new: Scale) -> Values:
    def converted(value: float | None) -> float | None:
        return None if value is None else new.from_unit(value if old == UNIT else old.to_unit(value))

    return Values(**{name: converted(value) for name, value in vars(values).items()})


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: _round(value) for name, value in values.items()}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)
