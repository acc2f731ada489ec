"""Sound files of any usual kind to mono float32 at 16 kHz: `load`, `stream`, `probe`, `duration`, `encode`.

Times are seconds from the first sample of the file; arrays have the shape (S,) and the rate `SAMPLE_RATE`.
Sample k of the result lies at exactly k / SAMPLE_RATE seconds of the file, wherever a cut begins: decoding
starts a little earlier, at a frame that falls on an output sample, so that the resampler (soxr, HQ) sees the
same surroundings as in a decode of the whole file. Channels are averaged; levels stay as they are.
"""

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from multimodal_ser.decoders.contract import (
    MAX_CHANNELS,
    NO_SAMPLES,
    AudioError,
    AudioInfo,
    Decoder,
    Unreadable,
)
from multimodal_ser.decoders.diagnosis import HEAD_BYTES, explain
from multimodal_ser.decoders.ffmpeg import FFmpegDecoder
from multimodal_ser.decoders.libsndfile import SoundFileDecoder

SAMPLE_RATE = 16_000  # Hz
CONTEXT_SECONDS = 0.1  # kept on both sides of a cut; the HQ filter of soxr settles to 1e-6 within 0.02 s
CONTEXT_FRAMES = 400  # at least, for sampling rates far below 16 kHz
SHORT_SECONDS = 0.1  # a file may be this much shorter than its header says: padding of the last codec block
MISSED_SECONDS = 0.01  # below the shortest block that a codec can lose
LATE_SECONDS = 1.0  # a cut may end this much after the sound, as rounded transcript times do
MIN_BYTES_PER_SECOND = 1  # no codec in use goes below 25: a header that promises more is damaged

__all__ = [
    "SAMPLE_RATE",
    "AudioError",
    "AudioInfo",
    "AudioWarning",
    "duration",
    "encode",
    "load",
    "probe",
    "stream",
]


class AudioWarning(UserWarning):
    """A sound file is used, but not all of it could be decoded."""


def load(path: str | os.PathLike, start: float | None = None, end: float | None = None) -> np.ndarray:
    """The sound between `start` and `end` seconds as (S,) float32 at 16 kHz, without decoding from zero."""
    return np.concatenate(list(stream(path, start=start, end=end)))


def stream(
    path: str | os.PathLike, block_seconds: float = 20.0, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray]:
    """Consecutive blocks of `block_seconds`, the last perhaps shorter: together `load`, bit for bit."""
    path = Path(path)
    if not block_seconds * SAMPLE_RATE >= 1:
        raise AudioError(f"{path}: block_seconds is {block_seconds}; it must hold at least one sample")
    first, last = _samples(path, start, end)
    return _whole_blocks(_resampled(path, first, last), round(block_seconds * SAMPLE_RATE))


def probe(path: str | os.PathLike) -> AudioInfo:
    """Length, sampling rate, channels and format, from the headers alone wherever they say it."""
    path = Path(path)
    with _opened(path) as decoder:
        return decoder.info()


def duration(path: str | os.PathLike) -> float:
    """How many seconds of sound a file holds."""
    return probe(path).seconds


def encode(path: str | os.PathLike, waveform: np.ndarray, sampling_rate: int = SAMPLE_RATE) -> None:
    """Write (S,) or (S, channels) in the format that the name's suffix says."""
    path, waveform = Path(path), np.asarray(waveform, np.float32)
    suffix = path.suffix.lower()
    if suffix in (".wav", ".flac", ".mp3", ".ogg", ".opus"):
        subtype = {".ogg": "VORBIS", ".opus": "OPUS"}.get(suffix)
        container = "OGG" if suffix == ".opus" else suffix[1:].upper()
        channels = 1 if waveform.ndim == 1 else waveform.shape[1]
        with soundfile.SoundFile(path, "w", sampling_rate, channels, subtype, format=container) as file:
            for position in range(0, len(waveform), sampling_rate):  # libvorbis crashes on minutes at once
                file.write(waveform[position : position + sampling_rate])
        return
    codecs = {".m4a": "aac", ".mp4": "aac", ".mkv": "aac", ".webm": "libopus"}
    if suffix not in codecs:
        raise AudioError(f"{path}: cannot write '{suffix}'; formats: wav flac mp3 ogg opus m4a mp4 mkv webm")
    planes = np.ascontiguousarray(np.atleast_2d(waveform.T))
    layout = "mono" if len(planes) == 1 else "stereo"
    with av.open(str(path), "w") as container:
        encoder = container.add_stream(codecs[suffix], rate=sampling_rate, layout=layout)
        for position in range(0, planes.shape[1], sampling_rate):
            part = np.ascontiguousarray(planes[:, position : position + sampling_rate])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = sampling_rate, position
            container.mux(encoder.encode(frame))
        container.mux(encoder.encode(None))


def _samples(path: Path, start: float | None, end: float | None) -> tuple[int, float]:
    """The cut as output sample numbers; infinity stands for the end of the file."""
    first = 0 if start is None else start
    last = math.inf if end is None else end
    if not 0 <= first < math.inf:
        raise AudioError(f"{path}: the cut starts at {start} s; it must start at 0 s or later")
    if not last > first:
        raise AudioError(
            f"{path}: the cut from {first} s to {end} s is empty; its end must lie after its start"
        )
    first = round(first * SAMPLE_RATE)
    last = math.inf if last == math.inf else round(last * SAMPLE_RATE)
    if last <= first:
        raise AudioError(f"{path}: the cut from {start} s to {end} s is shorter than one sample of 16 kHz")
    return first, last


@contextmanager
def _opened(path: Path) -> Iterator[Decoder]:
    """The first decoder that knows the file."""
    head = _head(path)
    decoder = None
    try:
        try:
            decoder = SoundFileDecoder(path, head)
        except Unreadable:
            decoder = FFmpegDecoder(path)
        _check_header(path, decoder)
        yield decoder
    except Unreadable as error:
        raise AudioError(f"{path}: {explain(path, head, str(error))}") from None
    finally:
        if decoder is not None:
            decoder.close()


def _head(path: Path) -> bytes:
    """The first bytes of a file that is there, may be read, and is not plainly something else than sound."""
    try:
        if not path.is_file():
            raise AudioError(f"{path}: {explain(path, None)}")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise AudioError(f"{path}: {explain(path, None, error.strerror)}") from None
    if reason := explain(path, head):
        raise AudioError(f"{path}: {reason}")
    return head


def _check_header(path: Path, decoder: Decoder) -> None:
    """Refuse a header that cannot be true, before anything is decoded."""
    if not 1 <= decoder.channels <= MAX_CHANNELS:
        raise AudioError(
            f"{path}: has {decoder.channels} channels; 1 to {MAX_CHANNELS} are allowed; the header is "
            "damaged or the file is no recording of speech"
        )
    size = path.stat().st_size
    seconds = (decoder.promised or 0) / decoder.rate
    if size < seconds * MIN_BYTES_PER_SECOND:
        raise AudioError(
            f"{path}: its header promises {seconds:,.0f} s of sound but the file has {size:,} bytes; the "
            "header is damaged, or this is the first piece of a download"
        )


def _resampled(path: Path, first: int, last: float) -> Iterator[np.ndarray]:
    """The samples from `first` up to `last` of the file at 16 kHz, in pieces of any length."""
    with _opened(path) as decoder:
        rate = decoder.rate
        context = max(math.ceil(CONTEXT_SECONDS * SAMPLE_RATE), CONTEXT_FRAMES * SAMPLE_RATE // rate)
        # Output sample k lies at frame k * rate / 16000, a whole number for every `step`-th k only.
        step = SAMPLE_RATE // math.gcd(rate, SAMPLE_RATE)
        position = max(0, first - context) // step * step
        until = math.ceil((last + context) * rate / SAMPLE_RATE) if last < math.inf else math.inf
        source = _finite(path, decoder, position * rate // SAMPLE_RATE, until)
        found = False
        for piece in _convert(source, rate):
            wanted = piece[max(0, first - position) : int(max(0, min(len(piece), last - position)))]
            position += len(piece)
            if len(wanted):
                found = True
                yield wanted
        if not found:
            raise AudioError(f"{path}: {_nothing(path, first)}")
        if last < math.inf and position < last - LATE_SECONDS * SAMPLE_RATE and decoder.broken_at is None:
            asked, there = last / SAMPLE_RATE, position / SAMPLE_RATE
            _warn(f"{path}: the cut should end at {asked:.2f} s but the sound ends at {there:.2f} s")


def _nothing(path: Path, first: int) -> str:
    """Why a cut that starts at sample `first` is empty."""
    if first == 0:
        return NO_SAMPLES
    start, lasts = first / SAMPLE_RATE, duration(path)
    if start < lasts:
        return f"breaks off before {start:.2f} s of {lasts:.2f} s; probably an unfinished download or copy"
    return (
        f"the cut starts at {start:.2f} s but the sound lasts {lasts:.2f} s; the "
        "transcript or manifest belongs to another recording, or its times are not in seconds"
    )


def _convert(source: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Blocks at `rate` to blocks at 16 kHz."""
    if rate == SAMPLE_RATE:
        yield from source
        return
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in source:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _finite(path: Path, decoder: Decoder, first: int, last: float) -> Iterator[np.ndarray]:
    """The decoder's blocks, checked for NaN and infinity, and at the end for what is missing."""
    position = first
    for block in decoder.blocks(first, last):
        if not np.isfinite(block).all():
            bad = int(np.argmin(np.isfinite(block)))
            value = "NaN" if np.isnan(block[bad]) else "an infinite value"
            raise AudioError(
                f"{path}: {value} at {(position + bad) / decoder.rate:.3f} s; an earlier processing step "
                "divided by zero or overflowed: write the file again"
            )
        position += len(block)
        yield block
    _check_end(path, decoder, position, last)


def _check_end(path: Path, decoder: Decoder, reached: int, last: float) -> None:
    """Warn if the sound broke off before it should, or if damaged data were stepped over."""
    rate = decoder.rate
    missing = (min(decoder.promised or 0, last) - reached) / rate
    cause = "probably an unfinished download or copy, or a recorder that stopped"
    if decoder.broken_at is not None and reached - decoder.broken_at > SHORT_SECONDS * rate:
        loss = "the stretch that could not be decoded is silent"
        if missing > MISSED_SECONDS or decoder.promised is None:
            loss = "the stretch that could not be decoded is left out, so later times are early"
        _warn(f"{path}: damaged at {decoder.broken_at / rate:.2f} s; {loss}")
    elif missing > SHORT_SECONDS:
        whole = decoder.promised / rate
        _warn(f"{path}: breaks off at {reached / rate:.2f} s of {whole:.2f} s; {cause}")
    elif reached < last and decoder.unfinished:
        _warn(f"{path}: breaks off at {reached / rate:.2f} s, without an end mark; {cause}")


def _warn(message: str) -> None:
    warnings.warn(message, AudioWarning, stacklevel=2)


def _whole_blocks(pieces: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in arrays of `size`; the last may be shorter."""
    held: list[np.ndarray] = []
    count = 0
    for piece in pieces:
        while count + len(piece) >= size:
            head, piece = piece[: size - count], piece[size - count :]
            yield np.concatenate([*held, head])
            held, count = [], 0
        if len(piece):
            held.append(piece)
            count += len(piece)
    if held:
        yield np.concatenate(held)
