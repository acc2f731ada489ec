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
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from multimodal_ser.cache import atomic_path
from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.utterances import FIELDS, Utterance, problems_of, shown

SCHEMA_VERSION = 1
MAX_PROBLEMS = 20  # listed in one error


class ManifestError(InputError):
    """A manifest that cannot be used; `problems` holds every problem found, the message up to twenty."""

    def __init__(self, path: str | os.PathLike, problems: list[str]) -> None:
        self.problems = problems
        shown = "".join(f"\n  {problem}" for problem in problems[:MAX_PROBLEMS])
        more = len(problems) - MAX_PROBLEMS
        rest = f"\n  ... and {more} more" if more > 0 else ""
        plural = "" if len(problems) == 1 else "s"
        super().__init__(f"{path}: {len(problems)} problem{plural}{shown}{rest}")


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
        problems.append(f"line {number}: expected an object, received {shown(record)}")
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
