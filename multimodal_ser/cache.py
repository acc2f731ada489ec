"""Files that are written whole or not at all, and files that are found again by what they were made from."""

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HASH_LENGTH = 16  # hexadecimal digits kept of a SHA-256: 64 bits
_BLOCK = 1 << 20  # bytes read at a time
# It can only be read by setting it, for all threads at once: do so before there are any.
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def cache_folder() -> Path:
    """Where this package keeps what it can make again: $MULTIMODAL_SER_CACHE or the user's cache folder."""
    if chosen := os.environ.get("MULTIMODAL_SER_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "multimodal_ser"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place if the block ends well and vanishes if not.

    The name keeps the suffix of `path`, for writers that choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:80]}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _give_usual_permissions(temporary)
        with temporary.open("rb+") as file:  # the rename must not overtake the data on a power cut
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def hash_bytes(*parts: bytes) -> str:
    """A short content hash of `parts`; where one part ends and the next begins matters."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:HASH_LENGTH]


def hash_file(path: str | os.PathLike) -> str:
    """A short content hash of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:HASH_LENGTH]


def hash_unchanged(path: str | os.PathLike) -> str:
    """`hash_file`, read once in a process for as long as size and time of change stay."""
    status = Path(path).stat()
    return _hashed(os.fspath(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _hashed(path: str, size: int, modified: int) -> str:
    return hash_file(path)


def hash_options(**options: Any) -> str:
    """A short hash of named options that does not depend on their order."""
    return hash_bytes(json.dumps(options, sort_keys=True, ensure_ascii=False).encode())


def _give_usual_permissions(path: Path) -> None:
    """mkstemp makes files that only their owner can read; results are for everybody the umask allows."""
    path.chmod(0o666 & ~_UMASK)
