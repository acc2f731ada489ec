"""Manifests: one JSON line per utterance behind one header line; read, write, validate.

The header names the schema, the corpus and its version, the audio root and the licence. Every path in a
manifest is relative to the audio root, uses forward slashes and may not leave it; an audio root that is
itself relative counts from the manifest's own folder. Times are seconds; dimensions are in unit scale, 0..1;
`null` means "not annotated", so a `text` of `""` is an utterance in which no word is spoken and a `text` of
`null` one that nobody transcribed.
"""

import contextlib
import gc
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from multimodal_ser.cache import atomic_path
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, EMOTIONS, nearest

SCHEMA_VERSION = 1
MAX_PROBLEMS = 20  # listed in one error
GENDERS = ("female", "male", "other")
LABEL_SOURCES = ("rated", "acted", "proxy", "planted", "teacher")
_SPLIT = re.compile(r"[a-z][a-z0-9_]*")
# Not absolute, no drive letter, no backslash, and no ".." as a whole part.
_SAFE_PATH = re.compile(r"(?!/|[A-Za-z]:)(?!(?:[^\0]*/)?\.\.(?:/|$))[^\\\0]+")
_SPLITS_EXPECTED = ("train", "development", "test", "test1", "test2", "test3")


class ManifestError(InputError):
    """A manifest that cannot be used; `problems` holds every problem found, the message up to twenty."""

    def __init__(self, path: str | os.PathLike, problems: list[str]) -> None:
        self.problems = problems
        shown = "".join(f"\n  {problem}" for problem in problems[:MAX_PROBLEMS])
        more = len(problems) - MAX_PROBLEMS
        rest = f"\n  ... and {more} more" if more > 0 else ""
        plural = "" if len(problems) == 1 else "s"
        super().__init__(f"{path}: {len(problems)} problem{plural}{shown}{rest}")


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


@dataclass(frozen=True)
class Header:
    """The first line of a manifest."""

    corpus: str
    version: str | None = None
    audio_root: str | None = None  # absolute, or relative to the manifest's folder
    licence: str | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Manifest:
    """A header, its utterances, and the folder their audio paths start from."""

    header: Header
    utterances: list[Utterance]
    root: Path | None = None

    def __len__(self) -> int:
        return len(self.utterances)

    def audio_path(self, utterance: Utterance) -> Path:
        """Where the audio of `utterance` lies on this machine."""
        if utterance.audio is None:
            raise InputError(f"utterance '{utterance.id}' is text only: it has no audio")
        if self.root is None:
            raise InputError(
                f"utterance '{utterance.id}' names the audio '{utterance.audio}', but the manifest of "
                f"'{self.header.corpus}' declares no audio_root; give one with --audio-root"
            )
        return self.root / PurePosixPath(utterance.audio)

    def select(self, keep: Callable[[Utterance], bool]) -> "Manifest":
        """The same manifest with those utterances only for which `keep` is true."""
        return replace(self, utterances=[u for u in self.utterances if keep(u)])

    def split(self, name: str) -> "Manifest":
        """The utterances of one split, which must exist."""
        chosen = self.select(lambda utterance: utterance.split == name)
        if not chosen.utterances:
            present = sorted({u.split or "(none)" for u in self.utterances})
            raise InputError(
                f"no utterance of '{self.header.corpus}' is in split '{name}'{nearest(name, present)}; "
                f"splits in this manifest: {', '.join(present)}"
            )
        return chosen


def read(path: str | os.PathLike, audio_root: str | os.PathLike | None = None) -> Manifest:
    """Read and validate a manifest; `audio_root` replaces the one it declares, for a corpus that moved."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such manifest: {path}; `multimodal-ser prepare` writes one")
    problems: list[str] = []
    utterances: list[Utterance] = []
    first_line: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig") as file, _collector_paused():
            header = _read_header(path, file.readline())
            for number, line in enumerate(file, start=2):
                if not line.strip():
                    continue
                utterance = _read_line(line, number, problems)
                if utterance is None:
                    continue
                if (earlier := first_line.setdefault(utterance.id, number)) != number:
                    problems.append(
                        f"line {number}, id '{utterance.id}': the same id stands on line {earlier}; "
                        "ids are unique in a manifest"
                    )
                utterances.append(utterance)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if problems:
        raise ManifestError(path, problems)
    return Manifest(header, utterances, _resolved_root(path, header, audio_root))


def write(path: str | os.PathLike, header: Header, utterances: Iterable[Utterance]) -> None:
    """Validate and write a manifest, whole or not at all."""
    problems: list[str] = []
    seen: set[str] = set()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_dumps({"manifest": "multimodal_ser", **_as_record(header)}) + "\n")
        for number, utterance in enumerate(utterances, start=2):
            problems += [_located(number, utterance.id, problem) for problem in problems_of(utterance)]
            if utterance.id in seen:
                problems.append(_located(number, utterance.id, "the id occurs twice; ids are unique"))
            seen.add(utterance.id)
            if not problems:
                file.write(_dumps(_as_record(utterance)) + "\n")
        if problems:
            raise ManifestError(path, problems)


def missing_audio(manifest: Manifest) -> list[Path]:
    """The audio files that the manifest names and that are not there, each once."""
    named = {manifest.audio_path(u) for u in manifest.utterances if u.audio is not None}
    return sorted(path for path in named if not path.is_file())


def check_audio(manifest: Manifest) -> None:
    """Raise, with the likely cause, if any audio file of the manifest is missing."""
    missing = missing_audio(manifest)
    if not missing:
        return
    total = len({u.audio for u in manifest.utterances if u.audio is not None})
    cause = (
        "the corpus seems to have moved: say where it lies now with --audio-root FOLDER"
        if len(missing) == total
        else "part of the corpus is missing: run `multimodal-ser prepare` again to list what is there"
    )
    raise InputError(
        f"{len(missing)} of {total} audio files of '{manifest.header.corpus}' are not under "
        f"{manifest.root}, for example {missing[0]}; {cause}"
    )


def problems_of(utterance: Utterance) -> list[str]:
    """Everything that is wrong with the values of one utterance; nothing if it is valid."""
    problems: list[str] = []
    for value, (name, is_valid, allowed) in zip(_values_of(utterance), _FIELD_RULES, strict=True):
        if value is not None and not is_valid(value):
            problems.append(f"{name} = {_shown(value)}: {allowed}{_hint(name, value)}")
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


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def _located(number: int, identifier: Any, problem: str) -> str:
    return f"line {number}, id '{identifier}': {problem}"


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """A manifest is many small objects that all stay; looking for garbage among them costs a fifth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _read_header(path: Path, line: str) -> Header:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        record = None
    if not isinstance(record, dict) or record.get("manifest") != "multimodal_ser":
        raise InputError(
            f"{path}: the first line is not a manifest header; expected "
            '{"manifest": "multimodal_ser", "schema_version": 1, "corpus": ...}. '
            "For your own CSV or JSONL run `multimodal-ser prepare table`"
        )
    version = record.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version {version!r}; this version of multimodal_ser reads {SCHEMA_VERSION}"
        )
    known = {field.name for field in fields(Header)}
    unknown = sorted(record.keys() - known - {"manifest"})
    if unknown or not isinstance(record.get("corpus"), str):
        what = f"unknown header field '{unknown[0]}'" if unknown else "the header names no corpus"
        raise InputError(f"{path}: {what}; header fields: {', '.join(sorted(known))}")
    return Header(**{name: record[name] for name in known & record.keys()})


def _read_line(line: str, number: int, problems: list[str]) -> Utterance | None:
    """The utterance of one line, or None after noting why there is none."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        cut = "" if line.endswith("\n") else "; the file seems to be cut off here"
        problems.append(f"line {number}: not JSON ({error.msg} at column {error.colno}){cut}")
        return None
    if not isinstance(record, dict):
        problems.append(f"line {number}: expected an object, received {_shown(record)}")
        return None
    try:
        utterance = Utterance(**record)
    except TypeError:
        problems.extend(_key_problems(record, number))
        return None
    if found := problems_of(utterance):
        problems.extend(_located(number, utterance.id, problem) for problem in found)
        return None
    return utterance


def _key_problems(record: dict[str, Any], number: int) -> list[str]:
    identifier = record.get("id", "?")
    missing = [name for name in ("id", "corpus") if name not in record]
    unknown = [name for name in record if name not in FIELDS]
    return [_located(number, identifier, f"field '{name}' is missing") for name in missing] + [
        _located(
            number,
            identifier,
            f"unknown field '{name}'{nearest(name, FIELDS)}; fields: {', '.join(FIELDS)}",
        )
        for name in unknown
    ]


def _resolved_root(path: Path, header: Header, chosen: str | os.PathLike | None) -> Path | None:
    if chosen is not None:
        root = Path(chosen)
        if not root.is_dir():
            raise InputError(f"--audio-root: no such folder: {root}")
        return root
    return None if header.audio_root is None else path.parent / header.audio_root


def _as_record(item: Header | Utterance) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in fields(item)}


def _dumps(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False)
