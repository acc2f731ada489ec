"""Text files as people have them: UTF-8 with or without a byte order mark, UTF-16, Windows-1252; and the
times of caption files."""

from pathlib import Path

from multimodal_ser.errors import InputError

LFS_PREFIX = b"version https://git-lfs"
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file and the encoding it was in: UTF-8, UTF-16 or Windows-1252; without byte order mark.

    Bytes that are none of these come back as Latin-1, in which every byte means something.
    """
    data = path.read_bytes()
    if data.startswith(LFS_PREFIX):
        raise InputError(f"{path}: a Git-LFS stub, not the file; run `git lfs pull` in its folder")
    for encoding in _candidates(data):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def lines_of(text: str) -> list[str]:
    """The lines of a text; only CR, LF and both together end a line, as in editors that number lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def caption_time(seconds: float, separator: str) -> str:
    """00:00:00,179 of .srt or 00:00:00.179 of .vtt."""
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"


def _candidates(data: bytes) -> tuple[str, ...]:
    """The encodings to try; UTF-16 without its mark shows by the zero byte of a first plain character."""
    if data[:2] in _BYTE_ORDER_MARKS:
        return ("utf-16",)
    if len(data) % 2 == 0 and len(data) >= 4:
        if data[0] == 0 == data[2] and data[1] and data[3]:
            return ("utf-16-be",)
        if data[1] == 0 == data[3] and data[0] and data[2]:
            return ("utf-16-le",)
    return ("utf-8-sig", "cp1252")
