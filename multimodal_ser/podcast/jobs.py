"""Which episodes are scored, with which files beside them, and under which names."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from multimodal_ser.cache import hash_bytes
from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import tidy
from multimodal_ser.transcripts.reading import file_names, find_beside, find_speakers_beside

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One episode to score; `name` begins the names of its files."""

    media: Path
    name: str
    transcript: Path | None = None
    speakers: Path | None = None


def jobs_of(
    media: Sequence[Path],
    transcript: Path | None = None,
    speakers: Path | None = None,
    look_beside: bool = True,
) -> list[Job]:
    """A job for each recording, with what lies beside it unless it is given; equal stems are told apart."""
    if len(media) != 1 and (transcript or speakers):
        raise InputError(
            f"--transcript and --speakers belong to one recording, and {len(media)} are given; put the files "
            "beside their recordings, under the same names"
        )
    found = []
    listed: dict[Path, list[str]] = {}  # each folder is looked at once, however many recordings it holds
    for path, name in zip(media, _names(media), strict=True):
        if path.parent not in listed:
            listed[path.parent] = file_names(path.parent)
        names = listed[path.parent]
        beside = find_beside(path, names) if look_beside else None
        found.append(Job(path, name, transcript or beside, speakers or find_speakers_beside(path, names)))
    return found


def shard_of(jobs: Sequence[T], shard: str | None) -> tuple[list[T], str]:
    """The `i/n`-th part of what becomes jobs (counted from 1), and what marks the names of its summaries."""
    if shard is None:
        return list(jobs), ""
    number, _, count = shard.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise InputError(f"--shard {shard}: wanted is I/N, such as 1/8 to 8/8")
    return list(jobs)[int(number) - 1 :: int(count)], f"_shard{number}of{count}"


def reason_of(error: Exception) -> str:
    """What a row of `errors.csv` says; an error of no foreseen kind is told by its type too."""
    said = tidy(str(error))[:500]
    kind = type(error).__name__
    if isinstance(error, InputError | OSError):
        return said or kind
    return f"{kind}: {said}" if said else kind


def _names(media: Sequence[Path]) -> list[str]:
    """The stem, where stems meet the whole name, then that with a hash of the place; case does not count."""
    choices = [[p.stem for p in media], [p.name for p in media], [told_apart(Job(p, p.name)) for p in media]]
    names = list(choices[0])
    for better in choices[1:]:
        met = Counter(map(str.casefold, names))
        names = [better[n] if met[name.casefold()] > 1 else name for n, name in enumerate(names)]
    met = Counter(map(str.casefold, names))
    if twice := [path for path, name in zip(media, names, strict=True) if met[name.casefold()] > 1]:
        raise InputError(f"{twice[0]} is given twice")
    return names


def told_apart(job: Job) -> str:
    """A name that no recording in another place has."""
    return f"{job.media.name}~{hash_bytes(os.path.abspath(job.media).encode())[:8]}"
