"""Measure how sound files are decoded: fidelity and speed of every format, peak memory, and every refusal.

    OMP_NUM_THREADS=1 python recipes/benchmarks/decoding.py

prints three Markdown tables. Every format is compared with its wav original, averaged over channels and
resampled in one piece; seconds are CPU seconds of one core per hour of sound.
"""

import argparse
import contextlib
import functools
import math
import multiprocessing
import os
import re
import resource
import struct
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from multimodal_ser import audio

FRAME = {
    "mp3": 1152,
    "m4a": 1024,
    "mp4": 1024,
    "mkv": 1024,
    "webm": 960,
    "opus": 960,
}  # samples in a codec block
WAV_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ALAW", "ULAW")
LOSSLESS = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "flac")


@functools.cache
def voice(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """A stereo signal of shape (S, 2) like speech: harmonics, a gliding pitch, syllables, breath."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * times)) / rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 1.9 * times + 0.3 * np.sin(times)), 0, 1)
    mono = 0.2 * syllables * tone + 0.003 * rng.standard_normal(len(times))
    return np.stack([mono, 0.7 * mono + 0.01 * np.sin(2 * np.pi * 440 * times)], axis=1).astype(np.float32)


def repeat_mp3(source: Path, target: Path, times: int) -> None:
    """Write the packets of one mp3 `times` times: hours of sound without hours of encoding."""
    with av.open(str(target), "w") as written:
        stream, offset = None, 0
        for _ in range(times):
            with av.open(str(source)) as read:
                track = read.streams.audio[0]
                stream = stream or written.add_stream_from_template(track)
                for packet in read.demux(track):
                    if packet.size:
                        packet.pts = packet.dts = offset
                        offset += packet.duration
                        packet.stream = stream
                        written.mux(packet)


def formats_table(folder: Path, seconds: float) -> str:
    """Every format against its wav original."""
    rows = [
        "| format | CPU s per hour | length - original, ms | one codec block, ms | correlation |",
        "|---|--:|--:|--:|--:|",
    ]
    kinds = [*WAV_SUBTYPES, "flac", "mp3", "ogg", "opus", "m4a", "mp4", "mkv", "webm"]
    for kind in kinds:
        rate = 48_000 if kind in ("opus", "webm") else 44_100
        original = voice(seconds, rate)
        path = folder / (f"{kind}.wav" if kind in WAV_SUBTYPES else f"voice.{kind}")
        if kind in WAV_SUBTYPES:
            soundfile.write(path, original, rate, subtype=kind)
        else:
            audio.encode(path, original, rate)
        start = time.process_time()
        decoded = audio.load(path)
        cost = (time.process_time() - start) * 3600 / seconds
        wanted = soxr.resample(original.mean(axis=1), rate, audio.SAMPLE_RATE, "HQ")
        both = min(len(wanted), len(decoded))
        correlation = np.corrcoef(wanted[:both], decoded[:both])[0, 1]
        late = (len(decoded) - len(wanted)) / audio.SAMPLE_RATE * 1000
        block = FRAME.get(kind, 0) / rate * 1000
        name = f"wav {kind}" if kind in WAV_SUBTYPES else kind
        rows.append(f"| {name} | {cost:.2f} | {late:+.2f} | {block:.1f} | {correlation:.6f} |")
        path.unlink()
    return "\n".join(rows)


def peak_memory() -> float:
    """The most memory this process has held, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage would also count the parent's peak
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def _stream_whole(path: Path, results: multiprocessing.Queue) -> None:
    before = peak_memory()
    start = time.process_time()
    samples = sum(len(block) for block in audio.stream(path))
    cost = time.process_time() - start
    results.put((before, peak_memory(), samples, cost))


def memory_table(folder: Path, hours: float) -> str:
    """Peak memory and speed on long mp3 files, each in its own process, and of a cut near the end."""
    rows = [
        "| mp3 of | RSS before, MiB | peak RSS, MiB | CPU s per hour | 5 s from the end, CPU s |",
        "|---|--:|--:|--:|--:|",
    ]
    short = folder / "short.mp3"
    audio.encode(short, voice(300, 44_100), 44_100)
    for length in (hours / 10, hours):
        path = folder / "long.mp3"
        repeat_mp3(short, path, round(length * 12))
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        process = context.Process(target=_stream_whole, args=(path, results))
        process.start()
        before, peak, samples, cost = results.get()
        process.join()
        seconds = samples / audio.SAMPLE_RATE
        start = time.process_time()
        audio.load(path, seconds - 6, seconds - 1)
        cut = time.process_time() - start
        hourly = cost / seconds * 3600
        rows.append(f"| {seconds / 3600:.2f} h | {before:.0f} | {peak:.0f} | {hourly:.2f} | {cut:.2f} |")
        path.unlink()
    return "\n".join(rows)


def wav_bytes(
    channels: int = 1, rate: int = 16_000, bits: int = 16, frames: int = 500, claim: int | None = None
) -> bytes:
    """A wav file with any header; `claim` is the size of the data that it promises."""
    block = channels * bits // 8
    data = bytes(range(1, 251)) * (frames * block // 250)
    size = len(data) if claim is None else claim
    header = struct.pack("<IHHIIHH", 16, 1, channels, rate, (rate * block) % 2**32, block, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + header
        + b"data"
        + struct.pack("<I", size)
        + data
    )


def _half(folder: Path, name: str) -> Path:
    whole = folder / f"whole_{name}"
    audio.encode(whole, voice(7, 48_000), 48_000)
    data = whole.read_bytes()
    return _put(folder / f"half_{name}", data[: len(data) // 2])


def _put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _with_sample(path: Path, value: float) -> Path:
    waveform = voice(5, 16_000).copy()
    waveform[16_000 * 3] = value
    soundfile.write(path, waveform, 16_000, subtype="FLOAT")
    return path


def _silent_video(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for shade in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8))))
        container.mux(stream.encode(None))
    return path


def _locked(path: Path) -> Path:
    path.write_bytes(wav_bytes())
    path.chmod(0)
    return path


STUB = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Not Found</title></head></html>\n"
BAD: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "gone.wav",
    "missing folder": lambda folder: folder / "nowhere" / "gone.wav",
    "a folder": lambda folder: folder,
    "unreadable": lambda folder: _locked(folder / "locked.wav"),
    "empty": lambda folder: _put(folder / "empty.wav", b""),
    "no samples": lambda folder: _put(folder / "no_samples.wav", wav_bytes(frames=0)),
    "zero bytes": lambda folder: _put(folder / "zeros.flac", bytes(5000)),
    "text renamed": lambda folder: _put(folder / "text.wav", b"It was a dark and stormy night.\n" * 40),
    "web page": lambda folder: _put(folder / "page.mp3", PAGE),
    "archive": lambda folder: _put(folder / "archive.mp3", b"PK\x03\x04" + bytes(200)),
    "Git-LFS stub": lambda folder: _put(folder / "stub.wav", STUB),
    "noise bytes": lambda folder: _put(folder / "noise.mp3", np.random.default_rng(0).bytes(50_000)),
    "video without sound": lambda folder: _silent_video(folder / "silent.mp4"),
    "NaN": lambda folder: _with_sample(folder / "nan.wav", math.nan),
    "Inf": lambda folder: _with_sample(folder / "inf.wav", math.inf),
    "100 hours in a kilobyte": lambda folder: _put(
        folder / "long.wav", wav_bytes(rate=8000, bits=8, frames=1000, claim=100 * 3600 * 8000)
    ),
    "40 channels": lambda folder: _put(folder / "many.wav", wav_bytes(channels=40)),
    "rate 0": lambda folder: _put(folder / "rate.wav", wav_bytes(rate=0)),
    "half an m4a": lambda folder: _half(folder, "voice.m4a"),
    "half a wav": lambda folder: _half(folder, "voice.wav"),
    "half a flac": lambda folder: _half(folder, "voice.flac"),
    "half an mp3": lambda folder: _half(folder, "voice.mp3"),
    "half an ogg": lambda folder: _half(folder, "voice.ogg"),
    "half an opus": lambda folder: _half(folder, "voice.opus"),
    "half a webm": lambda folder: _half(folder, "voice.webm"),
}


def said_about(path: Path) -> tuple[str, float]:
    """What is printed about a file, and how many seconds of it can be used."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            seconds = len(audio.load(path)) / audio.SAMPLE_RATE
        except audio.AudioError as error:
            return str(error), 0.0
    return " / ".join(str(warning.message) for warning in caught) or "nothing", seconds


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Give up root's right to read everything, for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def refusals_table(folder: Path) -> str:
    """Every kind of bad input with the exact message."""
    folder.chmod(0o755)
    rows = ["| input | seconds used | message |", "|---|--:|---|"]
    for kind, make in BAD.items():
        path = make(folder)
        with nobody() if kind == "unreadable" else contextlib.nullcontext():
            message, seconds = said_about(path)
        rows.append(f"| {kind} | {seconds:.2f} | {message.replace(str(folder), 'FOLDER')} |")
    return "\n".join(rows)


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="length of each format's file (default: 5)"
    )
    parser.add_argument("--hours", type=float, default=10.0, help="length of the long mp3 (default: 10)")
    options = parser.parse_args()
    print(f"libsndfile {soundfile.__libsndfile_version__}, PyAV {av.__version__}, {os.cpu_count()} CPUs\n")
    with tempfile.TemporaryDirectory() as folder:
        for table in (
            lambda: refusals_table(Path(folder)),
            lambda: formats_table(Path(folder), options.minutes * 60),
            lambda: memory_table(Path(folder), options.hours),
        ):
            print(table(), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
