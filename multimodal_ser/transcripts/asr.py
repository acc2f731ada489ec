"""Speech recognition: what an engine is given, what it says, and the engines by name.

An engine takes windows, arrays (S,) at 16 kHz of at most 30 s, never files: the ffmpeg program is not
needed. A window is understood by itself: no text is handed from one to the next
(`condition_on_previous_text=False`), since a loop or an invention would be handed on too. Windows of a batch
do not influence each other's words.

Fall-back: a window is decoded greedily, or by beams, first. If its text compresses above 2.4 or its mean
log-probability lies below -1 (Whisper's own rules), and Whisper does not think that nobody speaks, it is
decoded again by sampling at `temperatures` 0.2 and 0.4, one after the other, with random numbers drawn from
the sound itself, so that a second run says the same. If no attempt is better, the first one stands. Whisper
goes on to 1.0; what only appears there is text that the trust gate (`trust.py`) would refuse, at the price of
a full decode each.
"""

import importlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.cache import hash_bytes
from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest
from multimodal_ser.transcripts.cues import Cue

WINDOW_SECONDS = 30.0  # that Whisper hears at a time
WINDOW_SAMPLES = round(WINDOW_SECONDS * SAMPLE_RATE)
TIMES = ("none", "segments", "words")
MOST_COMPRESSION = 2.4
LEAST_LOG_PROBABILITY = -1.0
MOST_NO_SPEECH = 0.6
DEFAULT_MODEL = "base"
BATCH = 8  # windows
SOURCE_PREFIX = "asr:"  # of the sources of recognised text; the name of an engine follows

# Name: module of this folder and class.
ENGINES = {
    "whisper": ("openai_engine", "WhisperTranscriber"),
    "faster-whisper": ("faster_engine", "FasterWhisperTranscriber"),
}


@dataclass(frozen=True)
class AsrOptions:
    """How to recognise; `batch_size` says how fast, the rest what comes out."""

    language: str | None = None  # such as "en"; None = recognised, window by window
    beam_size: int = 1  # 1 = greedy; 5 takes 1.2 to 1.4 times as long
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4)  # see above
    times: str = "segments"  # of what: "none" = one cue per window, "segments", or "words"
    batch_size: int | None = None  # windows decoded together; None = BATCH, or what the engine says

    def __post_init__(self) -> None:
        if self.times not in TIMES:
            raise InputError(
                f"times = '{self.times}'{nearest(self.times, TIMES)}; allowed: {', '.join(TIMES)}"
            )
        if self.beam_size < 1 or (self.batch_size is not None and self.batch_size < 1):
            raise InputError(
                f"beam_size = {self.beam_size}, batch_size = {self.batch_size}: both must be at least 1"
            )
        rising = all(a < b for a, b in zip(self.temperatures, self.temperatures[1:], strict=False))
        if not self.temperatures or self.temperatures[0] != 0 or self.temperatures[-1] > 1 or not rising:
            raise InputError(
                f"temperatures = {self.temperatures}: must begin with 0 and rise up to 1 at most"
            )

    def in_key(self) -> dict[str, Any]:
        """What a result depends on."""
        return {name: value for name, value in asdict(self).items() if name != "batch_size"}

    def with_batches(self, size: int) -> "AsrOptions":
        """With batches of that size, unless another was asked for."""
        return self if self.batch_size is not None else replace(self, batch_size=size)


class Heard(NamedTuple):
    """What an engine says about one window; times of cues are seconds from its beginning."""

    cues: tuple[Cue, ...]
    language: str | None = None
    temperature: float = 0.0


class Transcriber(Protocol):
    """An engine with a model loaded."""

    name: str  # such as "whisper-base", for `text_source`
    identity: str  # what results depend on beside the options: engine, content of the weights, precision
    options: AsrOptions

    def transcribe(self, windows: Sequence[NDArray[np.float32]]) -> list[Heard]:
        """One result per window, in order."""


def load_transcriber(
    engine: str = "whisper",
    model: str = DEFAULT_MODEL,
    options: AsrOptions | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Transcriber:
    """Load an engine; `model` is a name, or a local file or folder.

    threads: of the processor that this engine may use; None = as many as the library likes.
    """
    if engine not in ENGINES:
        raise InputError(
            f"unknown speech recogniser '{engine}'{nearest(engine, ENGINES)}; known: {', '.join(ENGINES)}"
        )
    module, name = ENGINES[engine]
    kind = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    return kind(model, options or AsrOptions(), device, threads)


def must_decode_again(compression: float, log_probability: float, no_speech: float) -> bool:
    """Whisper's rule: too repetitive or too improbable, unless nobody seems to speak anyway."""
    if no_speech > MOST_NO_SPEECH and log_probability < LEAST_LOG_PROBABILITY:
        return False
    return compression > MOST_COMPRESSION or log_probability < LEAST_LOG_PROBABILITY


def seed_of(window: NDArray[np.float32], temperature: float) -> int:
    """A seed that belongs to this sound."""
    return int(hash_bytes(window.tobytes(), repr(temperature).encode())[:8], 16)


def check_windows(windows: Sequence[NDArray[np.float32]]) -> None:
    """Our own callers cut windows; more than 30 s would be silently cut off."""
    assert all(window.ndim == 1 and len(window) <= WINDOW_SAMPLES for window in windows)


def known(value: float) -> float | None:
    """A number as results keep it; an engine says NaN where it does not know."""
    return None if math.isnan(value) else round(float(value), 4)
