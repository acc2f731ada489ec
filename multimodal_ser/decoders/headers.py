"""What mp3 and Ogg files say about their own length, which the decoding libraries do not pass on."""

import os
import re
from pathlib import Path

_TAG = re.compile(rb"Xing|Info")
_FIRST_FRAME = 2048  # bytes searched; the longest mp3 frame has 1,441


def xing_surplus(path: Path) -> int | None:
    """How many bytes more an mp3 has than its Xing header says; None without such a header.

    Below zero the file is cut off; far above zero something was spliced in (advertisements), and the length
    that the header says is wrong.
    """
    with path.open("rb") as file:
        tag = file.read(10)
        skip = 0
        if tag[:3] == b"ID3":  # its size is written in four bytes of seven bits
            skip = 10 + sum(byte << shift for byte, shift in zip(tag[6:10], (21, 14, 7, 0), strict=True))
        file.seek(skip)
        head = file.read(_FIRST_FRAME)
        size = file.seek(0, os.SEEK_END) - skip
    found = _TAG.search(head)
    fields = head[found.end() : found.end() + 12] if found else b""
    if len(fields) < 12 or fields[3] & 3 != 3:  # flags: 1 the number of frames, 2 the number of bytes
        return None
    return size - int.from_bytes(fields[8:12], "big")


def has_ogg_end(path: Path) -> bool:
    """Whether the last page of an Ogg file is whole and marked as the last."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 66_000))  # a page has at most 65,307 bytes
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or not page[5] & 4:
        return False
    segments = page[27 : 27 + page[26]]
    return len(page) >= 27 + len(segments) + sum(segments)
