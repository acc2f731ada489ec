"""Decode wav, flac, mp3, Ogg Vorbis, aiff, caf and au with libsndfile, whose jumps are exact to the sample.

Left to FFmpeg: Opus, which libsndfile decodes 2.6 times slower; mp3 files without a Xing header, or with one
that is not true, because libsndfile never reads past the length it saw or guessed at the start; and what
lies behind damaged data, where libsndfile gives up.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from multimodal_ser.decoders.contract import BLOCK_SECONDS, AudioInfo, Unreadable, downmix
from multimodal_ser.decoders.ffmpeg import FFmpegDecoder
from multimodal_ser.decoders.headers import has_ogg_end, xing_surplus

MAX_FRAMES = 1 << 48  # libsndfile gives a flac of unknown length the largest number there is
MP3_SURPLUS = (-4096, 16_384)  # bytes: writers count the first frame or not, and tags stand at the end

# What a writer puts into a wav header when it cannot go back to fill in the size: the length is unknown.
UNKNOWN_WAV_SIZES = {0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF, *range(0xFFFFFF00, 0xFFFFFFFF)}
LIBSNDFILE_STARTS = re.compile(
    rb"RIFF|RIFX|RF64|riff|fLaC|OggS|ID3|FORM|caff|\.snd|NIST|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", re.DOTALL
)


class SoundFileDecoder:
    """Decode with libsndfile, whose jumps are exact to the sample in every format it reads."""

    def __init__(self, path: Path, head: bytes) -> None:
        if not LIBSNDFILE_STARTS.match(head):
            raise Unreadable("not a format of libsndfile")
        if head[:3] == b"ID3" or head[0] == 0xFF:
            surplus = xing_surplus(path)
            if surplus is None or not MP3_SURPLUS[0] <= surplus <= MP3_SURPLUS[1]:
                raise Unreadable("an mp3 without a true length")
        try:
            self.file = soundfile.SoundFile(str(path))
        except (
            soundfile.LibsndfileError,
            TypeError,
            ValueError,
        ) as error:  # TypeError: a name ending in .raw
            raise Unreadable(str(error)) from error
        file = self.file
        if file.subtype == "OPUS" or not file.seekable() or not 0 < file.frames < MAX_FRAMES:
            file.close()
            raise Unreadable("better read by FFmpeg")
        self.path = path
        self.rate, self.channels = file.samplerate, file.channels
        self.promised: int | None = self._promised()  # frames
        self.unfinished = file.format == "OGG" and not has_ogg_end(path)
        self.broken_at: int | None = None  # frame at which damaged data began

    def _promised(self) -> int:
        """The length the header claims; libsndfile itself counts only the bytes that are there."""
        claim = re.search(r"^(?:data|SSND) : (\d+) \(should be (\d+)\)", self.file.extra_info, re.MULTILINE)
        if not claim or int(claim[1]) in UNKNOWN_WAV_SIZES or claim[2] == "0":
            return self.file.frames
        return max(self.file.frames, self.file.frames * int(claim[1]) // int(claim[2]))

    def info(self) -> AudioInfo:
        """Length, rate and format, from the header."""
        file = self.file
        kind = (file.format.lower(), file.subtype.lower())
        return AudioInfo(file.frames / self.rate, file.frames, self.rate, self.channels, *kind)

    def blocks(self, first: int, last: float) -> Iterator[np.ndarray]:
        """Mono blocks of the frames from `first` up to, not including, `last`."""
        if first >= self.file.frames:
            return
        if first and not self._jump(first):
            yield from self._behind_damage(first, int(min(last, self.file.frames)))
            return
        buffer = np.empty((BLOCK_SECONDS * self.rate, self.channels), np.float32)
        end = int(min(last, self.file.frames))
        while first < end:
            wanted = buffer[: end - first]
            try:
                found = len(self.file.read(out=wanted))
            except soundfile.LibsndfileError:  # what precedes the damage is in the buffer
                found = max(0, self.file.tell() - first)
            first += found
            if found:
                yield downmix(wanted[:found].T)
            if found < len(wanted):
                yield from self._behind_damage(first, end)
                return

    def _jump(self, first: int) -> bool:
        try:
            return self.file.seek(first) == first
        except soundfile.LibsndfileError:
            return False

    def _behind_damage(self, first: int, end: int) -> Iterator[np.ndarray]:
        """What FFmpeg can decode from frame `first` on, where libsndfile gave up."""
        with contextlib.suppress(Unreadable), contextlib.closing(FFmpegDecoder(self.path)) as other:
            for block in other.blocks(first, end):
                self.broken_at = first if other.broken_at is None else other.broken_at
                yield block

    def close(self) -> None:
        """Give the file back."""
        self.file.close()
