"""faster-whisper (SYSTRAN, on CTranslate2) as a `Transcriber`: extra [fast-asr], int8 on a CPU.

Its batched pipeline gets all windows in one array with the cuts between them; its own speech detector stays
off. Where no language is given, the pipeline recognises it window by window but does not say which it was,
so `Heard.language` is None. The pipeline cannot sample: windows to be decoded again go through
`WhisperModel.transcribe`, one at a time. Models are CTranslate2 folders (`model.bin` holds tensors only), by
path, by name such as `base`, or by the name of a repository on the hub.
"""

import contextlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.cache import hash_file
from multimodal_ser.errors import InputError
from multimodal_ser.installation import explained_imports
from multimodal_ser.labels import nearest
from multimodal_ser.transcripts.asr import (
    BATCH,
    LEAST_LOG_PROBABILITY,
    MOST_COMPRESSION,
    AsrOptions,
    Heard,
    check_windows,
    known,
    must_decode_again,
    seed_of,
)
from multimodal_ser.transcripts.cues import Cue, Word, tidy

with explained_imports():
    import faster_whisper

import ctranslate2  # which faster-whisper requires

MODEL_FILE = "model.bin"
FRAMES_PER_SECOND = 100
SHORTEST = 0.02  # seconds that a cue lasts at least: one step of Whisper's time marks
PRECISIONS = {"cpu": "int8", "cuda": "float16"}


class FasterWhisperTranscriber:
    """A Whisper model of faster-whisper."""

    def __init__(
        self, model: str, options: AsrOptions, device: str = "cpu", threads: int | None = None
    ) -> None:
        kind = device.partition(":")[0]
        if kind not in PRECISIONS:
            raise InputError(f"--device {device}: faster-whisper runs on {', '.join(PRECISIONS)} only")
        folder = _folder(model)
        self.options = options
        try:
            self.model = faster_whisper.WhisperModel(
                str(folder), device=kind, compute_type=PRECISIONS[kind], cpu_threads=threads or 0
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise InputError(
                f"--model {model}: faster-whisper cannot load it ({error}); expected a CTranslate2 folder "
                "with model.bin, config.json and tokenizer.json"
            ) from None
        self.pipeline = faster_whisper.BatchedInferencePipeline(self.model)
        self.name = f"faster-whisper-{_plain_name(model)}"
        self.identity = f"faster-whisper:{hash_file(folder / MODEL_FILE)}:{PRECISIONS[kind]}"
        if options.language is not None and options.language not in self.model.supported_languages:
            allowed = self.model.supported_languages
            raise InputError(
                f"--language {options.language}{nearest(options.language, allowed)}: this model knows "
                + ", ".join(sorted(allowed))
            )

    def transcribe(self, windows: Sequence[NDArray[np.float32]]) -> list[Heard]:
        check_windows(windows)
        windows = [np.asarray(window, np.float32) for window in windows]
        if not windows:
            return []
        ends = [0, *accumulate(len(window) for window in windows)]
        clips = [{"start": a / SAMPLE_RATE, "end": b / SAMPLE_RATE} for a, b in pairwise(ends)]
        segments, _ = self.pipeline.transcribe(
            np.concatenate(windows),
            clip_timestamps=clips,
            vad_filter=False,
            batch_size=self.options.batch_size or BATCH,
            temperature=0.0,
            multilingual=self.options.language is None and self.model.model.is_multilingual,
            **self._common(),
        )
        # The frame at which its window begins says where a segment belongs; its own times may be wrong.
        places = {int(clip["start"] * FRAMES_PER_SECOND): n for n, clip in enumerate(clips)}
        found: list[list] = [[] for _ in windows]
        for segment in segments:
            found[places[segment.seek]].append(segment)
        return [
            self._decoded_again(window, self._heard(of_window, clip["start"], len(window)))
            for window, clip, of_window in zip(windows, clips, found, strict=True)
        ]

    def _common(self) -> dict:
        return {
            "language": self.options.language or "en",  # with `multilingual` only a place for the language
            "beam_size": self.options.beam_size,
            "condition_on_previous_text": False,
            "without_timestamps": self.options.times == "none",
            "word_timestamps": self.options.times == "words",
        }

    def _decoded_again(self, window: NDArray[np.float32], first: Heard) -> Heard:
        """The first attempt that is good enough, or the very first."""
        result = first
        for temperature in self.options.temperatures[1:]:
            if not _is_bad(result):
                return result
            ctranslate2.set_random_seed(seed_of(window, temperature))
            common = self._common() | {"language": self.options.language}
            segments, info = self.model.transcribe(
                window,
                vad_filter=False,
                temperature=[temperature],
                best_of=1,
                compression_ratio_threshold=MOST_COMPRESSION,
                log_prob_threshold=LEAST_LOG_PROBABILITY,
                no_speech_threshold=None,
                **common,
            )
            heard = self._heard(segments, 0.0, len(window))
            result = heard._replace(language=info.language, temperature=temperature)
        return first if _is_bad(result) else result

    def _heard(self, segments: Iterable, offset: float, samples: int) -> Heard:
        cues = (_cue(segment, offset, samples / SAMPLE_RATE) for segment in segments)
        return Heard(tuple(cue for cue in cues if cue.text), self.options.language)


def _is_bad(heard: Heard) -> bool:
    return any(
        must_decode_again(cue.compression_ratio or 0.0, cue.avg_logprob or 0.0, cue.no_speech_prob or 0.0)
        for cue in heard.cues
    )


def _cue(segment, offset: float, seconds: float) -> Cue:
    def within(time: float) -> float:
        return round(min(max(float(time) - offset, 0.0), seconds), 3)

    words = tuple(
        Word(word.word.strip(), within(word.start), within(word.end), known(word.probability))
        for word in segment.words or ()
    )
    start = min(within(segment.start), max(0.0, round(seconds - SHORTEST, 3)))
    end = within(segment.end)
    return Cue(
        start,
        end if end > start else round(seconds, 3),
        tidy(segment.text),
        words=words,
        avg_logprob=known(segment.avg_logprob),
        no_speech_prob=known(segment.no_speech_prob),
        compression_ratio=known(segment.compression_ratio),
    )


def _folder(model: str) -> Path:
    """The folder of a model; one that is only named is looked for in the hub's cache, then downloaded."""
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise InputError(f"--model {path}: no {MODEL_FILE} in this folder; it is not a CTranslate2 model")
        return path
    names = faster_whisper.available_models()
    if path.is_file() or ("/" not in model and model not in names):
        raise InputError(
            f"--model {model}: faster-whisper takes a CTranslate2 folder or a name{nearest(model, names)}; "
            f"known: {', '.join(names)}; a .pt file is for --engine whisper"
        )
    from faster_whisper.utils import download_model

    with contextlib.suppress(Exception):  # of many kinds, and all mean: not here yet
        return Path(download_model(model, local_files_only=True))
    try:
        return Path(download_model(model))
    except Exception as error:  # the hub's client lets through what its network library raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(
            f"--model {model}: its weights cannot be downloaded ({reason}); on a machine "
            "with a connection fetch its folder from the hub, and give the path with --model FOLDER"
        ) from None


def _plain_name(model: str) -> str:
    return Path(model).name or Path(model).resolve().name
