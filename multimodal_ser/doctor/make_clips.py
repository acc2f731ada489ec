"""Make the built-in clips anew: `python -m multimodal_ser.doctor.make_clips`.

Each is half a second of a 1 kHz tone, one per kind of file that podcasts and corpora hold. They are part of
the package, since encoding them on the user's machine would test its encoders too. mp4, mkv and webm carry a
picture before the sound, so that finding the first audio stream is part of the test. The encoders are those
of PyAV's wheels (FFmpeg), and libsndfile's for Vorbis, which FFmpeg calls experimental; their output differs
in some bytes between versions, which is why the clips are kept.
"""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile

from multimodal_ser.doctor.clips import CLIP_SECONDS, CLIPS, TONE_AMPLITUDE, TONE_HERTZ, clip_path

PICTURE_RATE = 10  # pictures per second
PICTURE_SIZE = 64  # pixels
# Kind: audio codec, sampling rate, picture codec
RECIPES = {
    "wav": ("pcm_s16le", 16_000, None),
    "flac": ("flac", 16_000, None),
    "mp3": ("mp3", 44_100, None),
    "opus": ("libopus", 48_000, None),
    "m4a": ("aac", 44_100, None),
    "aac": ("aac", 44_100, None),
    "mp4": ("aac", 44_100, "libx264"),
    "mkv": ("aac", 48_000, "libx264"),
    "webm": ("libopus", 48_000, "libvpx"),
}
CONTAINERS = {"m4a": "mp4", "aac": "adts", "mkv": "matroska", "opus": "ogg"}  # where it is not the suffix


def make_clip(kind: str, path: Path) -> None:
    """Write one clip; without a picture codec the file holds sound only."""
    if kind == "ogg":
        soundfile.write(path, _samples(44_100), 44_100, format="OGG", subtype="VORBIS")
        return
    codec, rate, picture_codec = RECIPES[kind]
    with av.open(path, "w", format=CONTAINERS.get(kind, kind), options={"fflags": "+bitexact"}) as container:
        if picture_codec:
            picture = container.add_stream(picture_codec, rate=PICTURE_RATE)
            picture.width = picture.height = PICTURE_SIZE
            picture.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono")
        if not codec.startswith(("pcm", "flac")):
            sound.bit_rate = 48_000
        if picture_codec:
            for image in _pictures():
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
        resampler = av.AudioResampler(format=sound.format, layout=sound.layout, rate=rate)
        for frame in resampler.resample(_tone(rate)):
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def _samples(rate: int) -> np.ndarray:
    seconds = np.arange(int(CLIP_SECONDS * rate)) / rate
    return TONE_AMPLITUDE * np.sin(2 * np.pi * TONE_HERTZ * seconds)


def _tone(rate: int) -> av.AudioFrame:
    samples = (_samples(rate) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = rate
    frame.pts = 0
    return frame


def _pictures() -> Iterator[av.VideoFrame]:
    for index in range(int(CLIP_SECONDS * PICTURE_RATE)):
        grey = np.full((PICTURE_SIZE, PICTURE_SIZE, 3), 40 * index, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts = index
        yield frame


if __name__ == "__main__":
    for kind in CLIPS:
        make_clip(kind, clip_path(kind))
        print(f"{clip_path(kind).name}: {clip_path(kind).stat().st_size} bytes")
