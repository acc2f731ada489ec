"""Why a file is no sound file: one clause with the reason and the likely cause, from its first bytes."""

import os
import re
import stat
import struct
from pathlib import Path

HEAD_BYTES = 4096  # read of every file
_SHOWN = 30  # characters of a text file quoted in a message
_FOREIGN = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it first",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"MThd": "a MIDI score, which holds notes and no sound",
    b"\x80\x04\x95": "a Python pickle",
    b"\x93NUMPY": "a NumPy array",
}


def explain(path: Path, head: bytes | None, reason: str | None = None) -> str:
    """What is wrong with a file that starts with `head` (None: it could not be opened), or "".

    With the `reason` of the last decoder that refused the file there is always an answer.
    """
    if head is None:
        return _unopened(path, reason)
    seen = _foreign(path, head) or (_damaged(path, head) if reason is not None else "")
    if seen or reason is None:
        return seen
    kind = f"its name ends in '{path.suffix}' but " if path.suffix else ""
    return f"cannot be decoded ({_one_line(reason)}); {kind}neither libsndfile nor FFmpeg finds sound in it"


def _unopened(path: Path, reason: str | None) -> str:
    if re.match(r"[a-z]{2,8}:/", str(path), re.IGNORECASE):  # Path joins the two slashes
        return "is an address, not a file; download it first"
    try:
        kind = os.lstat(path).st_mode
    except PermissionError as refusal:  # a folder above it may not be entered
        return f"cannot be opened: {refusal.strerror}; check the permissions of the folders above it"
    except OSError:
        if not os.path.isdir(path.parent):
            return (
                f"no such file: the folder '{path.parent}' does not exist; check the path or the audio root"
            )
        return "no such file; check its spelling, or the audio root of the manifest"
    if os.path.isdir(path):
        return "is a folder; give a sound file in it"
    cause = reason or ("the link leads nowhere" if stat.S_ISLNK(kind) else "not a regular file")
    return f"cannot be opened: {cause}; check its permissions and where it lies"


def _foreign(path: Path, head: bytes) -> str:
    """Files that are plainly not sound."""
    if not head:
        return "is empty (0 bytes); the download or copy did not start, or the disk was full"
    if not head.strip(b"\0"):
        return "starts with nothing but zero bytes; the copy did not finish or the disk is damaged"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git-LFS stub, not the sound itself; run `git lfs pull` in its repository"
    for start, kind in _FOREIGN.items():
        if head.startswith(start):
            return f"is {kind}"
    text = _as_text(head)
    if text is None:
        return ""
    lowered = text[:200].lower()
    if "<html" in lowered or lowered.startswith("<!doctype"):
        return "is a web page; the download address led to an error or login page"
    return (
        f"is text, not sound (it starts '{_one_line(text)[:_SHOWN]}'); a renamed file or a server's message"
    )


def _as_text(head: bytes) -> str | None:
    """The text of `head`, or None where it holds what no text holds."""
    try:
        text = (
            head[: HEAD_BYTES - 4].decode("utf-8-sig")
            if len(head) == HEAD_BYTES
            else head.decode("utf-8-sig")
        )
    except UnicodeDecodeError as error:
        if error.start < HEAD_BYTES - 8:
            return None
        text = head[: error.start].decode("utf-8-sig")
    text = text.strip()
    return text if text and all(c.isprintable() or c.isspace() for c in text) else None


def _damaged(path: Path, head: bytes) -> str:
    """Sound formats whose header or index is wrong."""
    if head[:4] == b"RIFF" and (at := head.find(b"fmt ")) > 0 and len(head) >= at + 16:
        _, channels, rate = struct.unpack_from("<HHI", head, at + 8)
        if rate == 0:
            return "its header says a sampling rate of 0 Hz; the header is damaged, or its writer failed"
        if not 1 <= channels <= 32:
            return f"its header says {channels} channels; 1 to 32 are allowed; the header is damaged"
    if head[4:8] == b"ftyp" and not _has_atom(path, b"moov"):
        return "its index (moov) is missing; an unfinished download, or a recorder that was switched off"
    return ""


def _has_atom(path: Path, name: bytes) -> bool:
    """Whether an mp4 file has a part of this name at its top level."""
    with path.open("rb") as file:
        while len(start := file.read(16)) >= 8:
            size = int.from_bytes(start[:4], "big")
            if start[4:8] == name:
                return True
            if size == 1:  # the true size follows in eight bytes
                size = int.from_bytes(start[8:16], "big")
            if size < 8:
                return False
            file.seek(size - len(start), os.SEEK_CUR)
    return False


def _one_line(text: str) -> str:
    return " ".join(text.split())
