"""Decode m4a, mp4, mkv, webm, aac, Opus and the rest with FFmpeg's libraries, through PyAV.

Every packet is placed by its time stamp, so that a jump lands on the right sample, damaged packets leave
silence instead of a shift, and pauses of a recorder (webm, Opus) keep their length.
"""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from multimodal_ser.decoders.contract import (
    BLOCK_SECONDS,
    NO_SAMPLES,
    AudioError,
    AudioInfo,
    Unreadable,
    downmix,
)
from multimodal_ser.decoders.headers import has_ogg_end, xing_surplus

PREROLL_SECONDS = Fraction(1, 2)  # decoded and dropped after a jump: Opus needs 0.08 s to settle, AAC 0.05 s
GAP_SECONDS = 0.02  # time stamps may stray this far before silence is put in
MAX_GAP_SECONDS = 3600  # a longer jump of the time stamps is damage or a spliced stream, not silence
# Only self-contained containers: FFmpeg also has playlists, which would open other files.
FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,ogg,mp3,aac,ac3,eac3,wav,w64,flac,aiff,caf,au,avi,asf,flv,mpegts,"
    "mpeg,amr,amrnb,amrwb,ape,wv,tta,dts,mp2,nistsphere"
)
# A jump by time is exact in these, by an index or by times in the pages. Elsewhere packets are stepped over.
SEEKABLE = ("mov", "matroska", "ogg", "wav", "flac", "avi", "asf")


class FFmpegDecoder:
    """Decode with FFmpeg's libraries, placing every packet by its time stamp."""

    def __init__(self, path: Path) -> None:
        options = {"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": "file"}
        try:
            self.container = av.open(str(path), options=options, metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError) as error:
            raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
        streams = self.container.streams.audio
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in self.container.streams})) or "no stream"
            self.container.close()
            raise AudioError(
                f"{path}: has no sound: it holds only {kinds}; probably a screen recording, or a video "
                "that was exported without its audio track"
            )
        self.stream = streams[0]
        self.broken_at: int | None = None  # frame at which damaged data began
        self.name = self.container.format.name.split(",")[0]
        self._origin: int | None = None  # time stamp of the first sample
        self._opening: list[av.AudioFrame] = []  # decoded to learn the origin
        self._reached = 0  # frames
        try:
            self._packets = self.container.demux(self.stream)
            self._learn_origin(path)
        except AudioError:
            self.container.close()
            raise
        except (av.error.FFmpegError, ValueError) as error:
            self.container.close()
            raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
        seconds = self._promised(path)
        self.promised = None if seconds is None else round(seconds * self.rate)
        self.unfinished = self.name == "ogg" and not has_ogg_end(path)

    def _learn_origin(self, path: Path) -> None:
        """Decode up to the first frame: only then are the rate (HE-AAC doubles it) and time zero known."""
        failure = None
        for packet in self._packets:
            try:
                self._opening = self._decode(packet)
            except av.error.InvalidDataError as error:  # a stream may have been joined in mid-block
                failure = error
            if self._opening:
                break
        else:
            raise AudioError(f"{path}: {NO_SAMPLES}") if failure is None else failure
        frame = self._opening[0]
        self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
        self._origin = frame.pts or 0
        self._tick = frame.time_base  # seconds
        self._first_length = frame.samples

    def _promised(self, path: Path) -> Fraction | None:
        """The seconds the container claims, where it writes them down."""
        stream, container = self.stream, self.container
        cut_mp3 = self.name == "mp3" and (xing_surplus(path) or 0) < 0
        if (self.name == "mov" or cut_mp3) and stream.duration:
            return stream.duration * stream.time_base
        if self.name == "matroska":
            if clock := re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", "")):
                end = int(clock[1]) * 3600 + int(clock[2]) * 60 + Fraction(clock[3])
            elif container.duration and len(container.streams) == 1:
                end = Fraction(container.duration, av.time_base)
            else:
                return None
            return end - self._origin * self._tick
        if self.name == "ogg" and stream.duration:
            # Counted from the first granule, which need not be the origin.
            return (stream.duration + (stream.start_time or 0) - self._origin) * stream.time_base
        return None

    def info(self) -> AudioInfo:
        """Length, rate and format; where the container claims no length its packets are counted."""
        frames = self.promised
        if frames is None:
            ends = [round(sum(frame.samples for frame in self._opening) / self.rate / self._tick)]
            for packet in self.container.demux(self.stream):
                if packet.pts is not None:
                    ends.append(packet.pts + (packet.duration or 0) - self._origin)
            frames = round(max(ends) * self._tick * self.rate)
        codec = self.stream.codec_context.name
        return AudioInfo(frames / self.rate, frames, self.rate, self.channels, self.name, codec)

    def blocks(self, first: int, last: float) -> Iterator[np.ndarray]:
        """Mono blocks of the frames from `first` up to, not including, `last`."""
        parts: list[np.ndarray] = []
        size = 0
        for samples in self._placed(first, last):
            parts.append(samples)
            size += len(samples)
            if size >= BLOCK_SECONDS * self.rate:
                yield np.concatenate(parts)
                parts, size = [], 0
        if parts:
            yield np.concatenate(parts)

    def _placed(self, first: int, last: float) -> Iterator[np.ndarray]:
        """Decoded samples in order, cut to [first, last), with silence where the time stamps leave a gap."""
        position, offset = None, 0
        for frame in self._frames(first):
            if frame.sample_rate != self.rate:
                rates = f"{self.rate} to {frame.sample_rate} Hz"
                raise AudioError(
                    f"{self.container.name}: the sampling rate changes from {rates} at "
                    f"{self._reached / self.rate:.2f} s; two recordings were joined: convert them to one rate"
                )
            at = self._position(frame)
            allowed = GAP_SECONDS
            if position is None:  # a jump that landed too late must not move what follows
                position, allowed = min(first, at or 0), 0
            gap = 0 if at is None else at + offset - position
            if allowed < gap / self.rate < MAX_GAP_SECONDS:
                while gap > 0 and position < last:
                    silence = np.zeros(min(gap, BLOCK_SECONDS * self.rate), np.float32)
                    yield from _cut(silence, position, first, last)
                    position, gap = position + len(silence), gap - len(silence)
            elif abs(gap) / self.rate > allowed:
                offset -= gap
            samples = _mono(frame)
            if self.name == "mov" and position < (self.promised or 0) < position + len(samples):
                samples = samples[: self.promised - position]  # the last codec block is padded
            yield from _cut(samples, position, first, last)
            position += len(samples)
            self._reached = position
            if position >= last:
                return

    def _position(self, frame: av.AudioFrame) -> int | None:
        """The frame count at which a decoded block starts, made exact where time stamps are coarse."""
        if frame.pts is None:
            return None
        position = round((frame.pts - self._origin) * self._tick * self.rate)
        tick = math.ceil(self._tick * self.rate)
        if tick > 1:  # matroska counts milliseconds; the codec's own blocks tell the sample
            half = frame.samples // 2
            stray = (position - self._first_length + half) % frame.samples - half
            if abs(stray) <= tick and position > 0:
                position -= stray
        return position

    def _frames(self, first: int) -> Iterator[av.AudioFrame]:
        """Decoded blocks from a little before frame `first`, or from the beginning."""
        skip_to = None
        if first > 2 * PREROLL_SECONDS * self.rate:
            wanted = self._origin + int((Fraction(first, self.rate) - PREROLL_SECONDS) / self._tick)
            if not self._jump(wanted):
                skip_to = wanted  # no index: step over the packets, which is exact and cheap
            self._opening = []
        yield from self._opening
        for packet in self._packets:
            if skip_to is not None and packet.pts is not None and packet.pts < skip_to:
                continue
            try:
                yield from self._decode(packet)
            except av.error.FFmpegError:
                if self.broken_at is None and self._reached:
                    self.broken_at = self._reached

    def _jump(self, time_stamp: int) -> bool:
        """Go to the last key packet before a time, where the container can."""
        if self.name not in SEEKABLE:
            return False
        try:
            self.container.seek(time_stamp, stream=self.stream)
        except av.error.FFmpegError:
            return False
        self._packets = self.container.demux(self.stream)
        return True

    def _decode(self, packet: av.Packet) -> list[av.AudioFrame]:
        return [frame for frame in packet.decode() if frame.samples]

    def close(self) -> None:
        """Give the file back."""
        self.container.close()


def _cut(samples: np.ndarray, position: int, first: int, last: float) -> Iterator[np.ndarray]:
    """The part of `samples`, which start at `position`, that lies in [first, last)."""
    part = samples[max(0, first - position) : int(max(0, min(len(samples), last - position)))]
    if len(part):
        yield part


def _mono(frame: av.AudioFrame) -> np.ndarray:
    """One decoded block as float32 in -1..1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    mono = downmix(values)
    if values.dtype.kind in "iu":
        half = 2.0 ** (8 * values.dtype.itemsize - 1)
        if values.dtype.kind == "u":
            mono -= np.float32(half)
        mono *= np.float32(1 / half)
    return mono
