"""Whether each kind of audio file can be decoded here, tried on clips that come with the package.

A clip is half a second of a 1 kHz tone (`make_clips` made them). Decoded means: the right length, and the
tone is there at its level; a decoder that hands back silence or the wrong speed does not pass.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

CLIPS = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "mp4", "mkv", "webm")
CLIP_SECONDS = 0.5
TONE_HERTZ = 1000.0
TONE_AMPLITUDE = 0.5
LENGTH_TOLERANCE = 0.06  # seconds; lossy formats pad to whole frames
LEVEL_TOLERANCE = 0.1  # of full scale


def clip_path(kind: str) -> Path:
    """The built-in clip of one kind."""
    return Path(__file__).parent / "tones" / f"tone.{kind}"


def decode_clip(kind: str) -> None:
    """Decode one clip with this package's own decoder; an exception says what is wrong."""
    from multimodal_ser import audio

    check_tone(audio.load(clip_path(kind)), audio.SAMPLE_RATE)


def check_tone(waveform: "np.ndarray", sample_rate: int) -> None:
    """Raise ValueError unless `waveform (S,)` is the tone of the clips."""
    import numpy as np

    seconds = len(waveform) / sample_rate
    if abs(seconds - CLIP_SECONDS) > LENGTH_TOLERANCE:
        raise ValueError(f"decoded {seconds:.3f} s instead of {CLIP_SECONDS} s")
    middle = np.asarray(waveform[len(waveform) // 4 : 3 * len(waveform) // 4], dtype=np.float64)
    phases = np.exp(-2j * np.pi * TONE_HERTZ / sample_rate * np.arange(len(middle)))
    amplitude = 2 * abs(phases @ middle) / len(middle)
    rest = np.sqrt(max(np.mean(middle**2) - amplitude**2 / 2, 0.0))
    if abs(amplitude - TONE_AMPLITUDE) > LEVEL_TOLERANCE or rest > LEVEL_TOLERANCE:
        raise ValueError(f"decoded a tone of level {amplitude:.2f} with {rest:.2f} of other sound, "
                         f"instead of {TONE_AMPLITUDE} with none")  # fmt: skip
