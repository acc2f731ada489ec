"""The stages of scoring, each as something that can be run and timed by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from multimodal_ser.audio import SAMPLE_RATE, load
from multimodal_ser.backends.running import REFERENCE
from multimodal_ser.bench.limit import hubert_flops
from multimodal_ser.bench.sizes import random_whisper
from multimodal_ser.labels import DIMENSIONS, UNIT
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.ser import SerModel
from multimodal_ser.podcast.rating import READ_AT_ONCE
from multimodal_ser.podcast.summaries import summarise
from multimodal_ser.podcast.timeline import Scored, Timeline, Values
from multimodal_ser.podcast.writers import WRITERS
from multimodal_ser.transcripts.asr import WINDOW_SECONDS
from multimodal_ser.transcripts.speech import detector_named, speech_spans

TEXT = "and then she said that it was the best thing that had ever happened to her in all those years"
TOKENS = 100  # that Whisper writes in 30 s: 150 words a minute, 1.3 tokens a word
AUDIO = f"audio {REFERENCE}"
_SOURCE_RATE = 44_100  # of the recording that is decoded: stereo, 16 bit
_ROWS, _ROW_SECONDS = 360, 10.0  # an hour of segments
_WRITTEN = ("csv", "vtt", "textgrid", "json")


@dataclass(frozen=True)
class Stage:
    """Something that works off so many seconds of audio in one run."""

    seconds: float
    run: Callable[[], object]
    flops: float | None = None  # arithmetic of one run, where it is arithmetic
    precision: str = "fp32"


def stages_of(model: SerModel, seconds: float, scratch: Path, whisper: str | None = None) -> dict[str, Stage]:
    """All stages by name; `whisper` is a size of the recogniser, None = the words are given."""
    generator = np.random.default_rng(0)
    recording = scratch / "recording.wav"
    sound = (generator.standard_normal((int(seconds * _SOURCE_RATE), 2)) * 3_000).astype(np.int16)
    soundfile.write(recording, sound, _SOURCE_RATE)
    clip = noise(seconds)
    lengths = torch.tensor([clip.shape[1]])
    ids = mask = None
    if model.text is not None:
        ids, mask = model.text.tokenize([TEXT])
    detector = detector_named("auto")
    stages = {
        "decode and resample": Stage(seconds, lambda: load(recording)),
        "speech detection": Stage(seconds, lambda: list(speech_spans([clip[0].numpy()], detector))),
    }
    if whisper is not None:
        stages |= _recognition(whisper)
    if model.audio is not None:
        if isinstance(model.audio, HubertEncoder):
            flops = hubert_flops(model.audio, clip.shape[1])
        else:
            flops = counted(lambda: model.audio(clip, lengths))
        stages[AUDIO] = Stage(seconds, lambda: model.audio(clip, lengths), flops)
    if model.text is not None:
        texts = model.text.tokenize([TEXT] * READ_AT_ONCE)
        read = partial(model.encode_text, *texts)
        stages["text"] = Stage(seconds * READ_AT_ONCE, read, counted(read))
    encoded = model.encode(clip, lengths, ids, mask)

    def fuse() -> None:
        for name in model.readings:
            model.read(encoded, name)

    stages["fusion, all readings"] = Stage(seconds, fuse, counted(fuse))
    timeline = _made_up_timeline(generator)

    def write() -> None:
        for name in _WRITTEN:
            ending, writer = WRITERS[name]
            writer(scratch / f"episode{ending}", timeline)

    stages["writing"] = Stage(_ROWS * _ROW_SECONDS, write)
    return stages


def noise(seconds: float) -> torch.Tensor:
    """Noise, (1, S)."""
    return torch.randn(1, int(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0)) * 0.1


def counted(run: Callable[[], object]) -> float:
    """The arithmetic of a run, as torch's own counter sees it."""
    # It does not know the fused attention of processors; the plain one is two products.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def _recognition(size: str) -> dict[str, Stage]:
    """Whisper's two halves over as many windows as in scoring; random weights would write to the end."""
    import whisper

    from multimodal_ser.transcripts.openai_engine import encoded, lay_frames_together, windows_at_once

    model = random_whisper(size)
    lay_frames_together(model)
    batch = windows_at_once(model.dims)
    sound = torch.randn(batch, model.dims.n_mels, 3000, generator=torch.Generator().manual_seed(0))
    options = whisper.DecodingOptions(language="en", sample_len=TOKENS, fp16=False)
    listen = partial(encoded, model, sound)
    heard = listen()

    def write() -> None:
        whisper.decode(model, heard, options)

    seconds = WINDOW_SECONDS * batch
    return {
        "ASR encoder": Stage(seconds, listen, counted(listen)),
        "ASR decoder": Stage(seconds, write, counted(write)),
    }


def _made_up_timeline(generator: np.random.Generator) -> Timeline:
    def segment(number: int) -> Scored:
        start = number * _ROW_SECONDS
        values = {name: Values(*generator.random(5)) for name in DIMENSIONS}
        return Scored(start, start + _ROW_SECONDS, TEXT, f"speaker {number % 3}", values, "vtt")

    segments = tuple(map(segment, range(_ROWS)))
    seconds = _ROWS * _ROW_SECONDS
    about = {"name": "bench", "hash": "0", "readings": [], "interval_coverage": 0.9}
    words = {"source": "vtt", "file": "episode.vtt", "problems": []}
    recording = {"file": "episode.mp3", "path": "episode.mp3", "hash": "0"}
    summary = summarise(segments, seconds)
    return Timeline(segments, seconds, UNIT, "en", recording, about, words, {}, summary)
