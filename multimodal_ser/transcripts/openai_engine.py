"""openai-whisper (Radford et al. 2022, arXiv 2212.04356) as a `Transcriber`.

Windows are padded to 30 s, encoded, and decoded in batches by `whisper.decode`. Their log-mel spectrograms
are computed one by one: `log_mel_spectrogram` scales by the loudest value of what it is given, so in a batch
the loudest window would change the others. On a processor they are encoded one by one as well: activations of
several do not fit into its cache, and the numbers are the same. A token's decoding reads all weights, so it
pays to decode many windows together.

Weights are torch files. `whisper.load_model` reads them with `torch.load(weights_only=True)` (it decides by
the version of torch; 1.13 or newer), so a file that holds anything but tensors and plain values is refused,
not run. A model that is named, such as `base`, is downloaded to ~/.cache/whisper (or $XDG_CACHE_HOME/whisper)
and compared with the SHA-256 that stands in its address, at every load. A local file is trusted as it is.
"""

import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.cache import HASH_LENGTH, hash_file
from multimodal_ser.errors import InputError
from multimodal_ser.installation import explained_imports
from multimodal_ser.labels import nearest
from multimodal_ser.transcripts.asr import (
    BATCH,
    WINDOW_SAMPLES,
    WINDOW_SECONDS,
    AsrOptions,
    Heard,
    check_windows,
    known,
    must_decode_again,
    seed_of,
)
from multimodal_ser.transcripts.cues import Cue, Word, tidy

with explained_imports():
    import torch
    import whisper
    from whisper.decoding import DecodingOptions, DecodingResult
    from whisper.timing import add_word_timestamps
    from whisper.tokenizer import LANGUAGES, get_tokenizer

PREPEND = "\"'“¿([{-"  # punctuation that belongs to the next word, and to the last one; Whisper's own
APPEND = "\"'.。,，!！?？:：”)]}、"
FRAMES_PER_SECOND = 100  # of the spectrogram
SMALL = 50 * 2**20  # bytes for a window: the sizes tiny and base


class WhisperTranscriber:
    """A Whisper model of openai-whisper."""

    def __init__(
        self, model: str, options: AsrOptions, device: str = "cpu", threads: int | None = None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.name, weights, self.model = _loaded(model, device)
        lay_frames_together(self.model)
        self.options = options.with_batches(windows_at_once(self.model.dims))
        self.half = self.model.device.type == "cuda"
        self.identity = f"whisper:{weights}:{'fp16' if self.half else 'fp32'}"
        _check_language(options.language, self.model)

    def transcribe(self, windows: Sequence[NDArray[np.float32]]) -> list[Heard]:
        check_windows(windows)
        heard = []
        for start in range(0, len(windows), self.options.batch_size):
            batch = windows[start : start + self.options.batch_size]
            mels = torch.stack([self._spectrogram(window) for window in batch])
            features = encoded(self.model, mels.half() if self.half else mels)
            results = whisper.decode(self.model, features, self._decoding(0.0))
            for window, mel, feature, result in zip(batch, mels, features, results, strict=True):
                better = self._decoded_again(window, feature, result)
                heard.append(self._heard(better, mel, len(window) / whisper.audio.SAMPLE_RATE))
        return heard

    def _spectrogram(self, window: NDArray[np.float32]) -> torch.Tensor:
        padded = np.pad(window.astype(np.float32, copy=False), (0, WINDOW_SAMPLES - len(window)))
        mel = whisper.log_mel_spectrogram(padded, self.model.dims.n_mels)
        return mel.to(self.model.device)

    def _decoding(self, temperature: float) -> DecodingOptions:
        options = self.options
        return DecodingOptions(
            language=options.language or (None if self.model.is_multilingual else "en"),
            temperature=temperature,
            beam_size=options.beam_size if options.beam_size > 1 and temperature == 0 else None,
            without_timestamps=options.times == "none",
            fp16=self.half,
        )

    def _decoded_again(
        self, window: NDArray[np.float32], features: torch.Tensor, first: DecodingResult
    ) -> DecodingResult:
        """The first attempt that is good enough, or the very first; alone, so that it has no batch mates."""
        result = first
        for temperature in self.options.temperatures[1:]:
            if not must_decode_again(result.compression_ratio, result.avg_logprob, result.no_speech_prob):
                return result
            devices = [self.model.device] if self.half else []
            with torch.random.fork_rng(devices):
                torch.manual_seed(seed_of(window, temperature))
                result = whisper.decode(self.model, features, self._decoding(temperature))
        again = must_decode_again(result.compression_ratio, result.avg_logprob, result.no_speech_prob)
        return first if again else result

    def _heard(self, result: DecodingResult, mel: torch.Tensor, seconds: float) -> Heard:
        tokenizer = get_tokenizer(
            self.model.is_multilingual,
            num_languages=self.model.num_languages,
            language=result.language,
            task="transcribe",
        )
        segments = list(_segments(result, tokenizer, seconds))
        marked = [(segment["start"], segment["end"]) for segment in segments]
        if self.options.times == "words" and segments:
            add_word_timestamps(
                segments=segments,
                model=self.model,
                tokenizer=tokenizer,
                mel=mel,
                num_frames=min(round(seconds * FRAMES_PER_SECOND), mel.shape[-1]),
                prepend_punctuations=PREPEND,
                append_punctuations=APPEND,
                last_speech_timestamp=0.0,
            )
        cues = [_cue(s, times, result, seconds) for s, times in zip(segments, marked, strict=True)]
        return Heard(tuple(cue for cue in cues if cue.text), result.language, result.temperature)


def _segments(result: DecodingResult, tokenizer, seconds: float) -> Iterator[dict]:
    """The stretches between time marks, in the form that Whisper's word alignment takes.

    Marks count steps of 0.02 s. Text behind the last mark reaches to the end of the window.
    """
    mark, step = tokenizer.timestamp_begin, WINDOW_SECONDS / 1500
    start, tokens = 0.0, []
    for token in [*result.tokens, None]:
        if token is not None and token < mark:
            tokens.append(token)
            continue
        at = seconds if token is None else min((token - mark) * step, seconds)
        if text_tokens := [t for t in tokens if t < tokenizer.eot]:
            start = min(start, max(0.0, seconds - step))
            end = at if at > start else seconds
            text = tokenizer.decode(text_tokens)
            yield {"seek": 0, "start": start, "end": end, "text": text, "tokens": text_tokens}
        start, tokens = at, []


def _cue(segment: dict, marked: tuple[float, float], result: DecodingResult, seconds: float) -> Cue:
    """A cue from where its words begin to where they end, unless the alignment gave them no time.

    The alignment moves ends and may leave the window, of `seconds`, or end a word before it begins.
    """
    words = []
    for word in segment.get("words", ()):
        start = min(max(float(word["start"]), 0.0), seconds)
        end = min(max(float(word["end"]), start), seconds)
        words.append(Word(word["word"].strip(), round(start, 3), round(end, 3), known(word["probability"])))
    start, end = (words[0].start, words[-1].end) if words else marked
    start, end = (start, end) if end > start else marked
    return Cue(
        round(start, 3),
        round(end, 3),
        tidy(segment["text"]),
        words=tuple(words),
        avg_logprob=known(result.avg_logprob),
        no_speech_prob=known(result.no_speech_prob),
        compression_ratio=known(result.compression_ratio),
    )


@torch.no_grad()
def encoded(model: "whisper.Whisper", mels: torch.Tensor) -> torch.Tensor:
    """What the decoder attends to, from log-mel spectrograms (B, M, T)."""
    parts = mels.split(1 if model.device.type == "cpu" else len(mels))
    return torch.cat([model.encoder(part) for part in parts])


def lay_frames_together(model: "whisper.Whisper") -> None:
    """Have the numbers of a frame beside one another in memory; its convolutions leave them apart."""
    blocks = model.encoder.blocks
    blocks[0].register_forward_pre_hook(lambda block, given: (given[0].contiguous(), *given[1:]))


def windows_at_once(dims: "whisper.ModelDimensions") -> int:
    """How many pay: more while keys and values of what is heard, in all layers of the decoder, stay small."""
    values = 2 * dims.n_text_layer * dims.n_audio_ctx * dims.n_audio_state
    return 2 * BATCH if values * 4 < SMALL else BATCH


def _loaded(model: str, device: str) -> tuple[str, str, "whisper.Whisper"]:
    """Name, hash of the weights and the network."""
    path = _local_file(model)
    where = str(path or model)
    try:
        loaded = whisper.load_model(where, device=device)
    except OSError as error:  # URLError is one
        raise InputError(_cannot_download(model, error) if path is None else f"{path}: {error}") from None
    except (pickle.UnpicklingError, KeyError, TypeError, EOFError, AttributeError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise InputError(f"--model {model}: too large for the memory of {device} ({error})") from None
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--model {where}: not a checkpoint of openai-whisper ({type(error).__name__}: {reason}); "
            "expected a torch file with 'dims' and 'model_state_dict', such as openai-whisper downloads"
        ) from None
    weights = _official_hash(model) if path is None else hash_file(path)
    if path is not None:
        _set_alignment_heads(loaded, weights)
    return f"whisper-{model if path is None else path.stem}", weights, loaded.eval()


def _local_file(model: str) -> Path | None:
    """The file that `model` means, or None if it is the name of an official model."""
    if model in whisper.available_models():
        return None
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        names = whisper.available_models()
        raise InputError(
            f"--model {model}: neither a file or folder nor a known model{nearest(model, names)}; known: "
            + ", ".join(names)
        )
    found = sorted(path.glob("*.pt"))
    if len(found) != 1:
        raise InputError(
            f"--model {path}: a folder with one .pt file is expected, here are {len(found)}; a folder of "
            "CTranslate2 (model.bin) is for --engine faster-whisper"
        )
    return found[0]


def _cannot_download(model: str, error: OSError) -> str:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "whisper"
    return (
        f"--model {model}: its weights cannot be downloaded ({error}); on a machine with a connection fetch "
        f"{whisper._MODELS[model]} and put it into {folder}, or give its path with --model FILE.pt"
    )


def _official_hash(model: str) -> str:
    """What `hash_file` would say: addresses hold the SHA-256, which whisper compares when it loads."""
    return whisper._MODELS[model].split("/")[-2][:HASH_LENGTH]


def _set_alignment_heads(model: "whisper.Whisper", weights: str) -> None:
    """whisper knows by name which attention heads follow the words; an official file keeps them elsewhere."""
    for name, address in whisper._MODELS.items():
        if address.split("/")[-2].startswith(weights):
            model.set_alignment_heads(whisper._ALIGNMENT_HEADS[name])
            return


def _check_language(language: str | None, model: "whisper.Whisper") -> None:
    if language is None:
        return
    if language not in LANGUAGES:
        raise InputError(
            f"--language {language}: not a code that Whisper knows; allowed: {', '.join(sorted(LANGUAGES))}"
        )
    if not model.is_multilingual and language != "en":
        raise InputError(f"--language {language}: this model knows English only; take one without '.en'")
