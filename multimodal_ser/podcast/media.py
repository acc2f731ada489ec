"""Which files of what a user names are recordings."""

from collections.abc import Sequence
from pathlib import Path

from multimodal_ser.errors import InputError

SUFFIXES = (
    ".aac", ".aif", ".aiff", ".amr", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp3", ".mp4", ".oga",
    ".ogg", ".opus", ".wav", ".webm", ".wma",
)  # fmt: skip


def recordings(named: Sequence[Path]) -> list[Path]:
    """The files as they are, and everything in folders that is called like a recording, by name."""
    found: list[Path] = []
    for path in named:
        if not path.is_dir():
            found.append(path)  # also what is not there: it fails by itself, beside the others
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise InputError(f"no recordings in {path}; looked for {' '.join(SUFFIXES)}")
        found += inside
    return found
