"""`multimodal-ser transcribe`."""

import argparse
from pathlib import Path

from multimodal_ser.cores import usable_cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is heard, by which recogniser, and what becomes of it."""
    add = parser.add_argument
    add("manifest", type=Path, metavar="MANIFEST", help="its utterances are transcribed")
    add("-o", "--output", type=Path, required=True, metavar="OUT.jsonl", help="the manifest with the words")
    add("--audio-root", type=Path, metavar="DIR", help="where the audio lies, if the corpus has moved")
    add("--engine", default="whisper", help="whisper, or faster-whisper (the extra [fast-asr])")
    add("--model", default="base", help="name of a model, or its local file (.pt) or CTranslate2 folder")
    add("--language", metavar="CODE", help="such as en; recognised if it is not given")
    add("--beam-size", type=int, default=1, help="1 is greedy; 5 is slower by a quarter and a little better")
    add("--batch-size", type=int, help="windows of 30 s decoded together; default: 8 or 16, by model")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add("--jobs", type=int, metavar="N", help="processes, each with a model; one per core, or one on a GPU")
    add("--speech", default="auto", help="speech detector: auto, silero (the extra [vad]), energy, none")
    add(
        "--expect",
        nargs="+",
        default=[],
        metavar="CODE",
        help="languages to trust, such as en; any if none is given",
    )
    add("--keep-reference", action="store_true", help="`text` stays the reference transcript if there is one")
    add("--keep-untrusted", action="store_true", help="`text` is what was heard even if it is not trusted")
    add("--no-cache", action="store_true", help="neither look for earlier results nor keep these")


def run(arguments: argparse.Namespace) -> int:
    """Transcribe, show what came of it, and fail if items failed."""
    from functools import partial

    from multimodal_ser.errors import InputError
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.manifests import read
        from multimodal_ser.transcription import TranscribeOptions, transcribe
        from multimodal_ser.transcripts.asr import AsrOptions, load_transcriber
        from multimodal_ser.transcripts.listening import default_cache
        from multimodal_ser.transcripts.trust import TrustConfig

    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs {arguments.jobs}: must be at least 1")
    device = _device(arguments.device)
    asr = AsrOptions(
        language=arguments.language,
        beam_size=arguments.beam_size,
        times="none",
        batch_size=arguments.batch_size,
    )
    done = transcribe(
        read(arguments.manifest, arguments.audio_root),
        arguments.output,
        partial(load_transcriber, arguments.engine, arguments.model, asr, device),
        TranscribeOptions(
            detector=arguments.speech,
            trust=TrustConfig(languages=tuple(arguments.expect)),
            keep_reference=arguments.keep_reference,
            keep_untrusted=arguments.keep_untrusted,
        ),
        jobs=arguments.jobs or (usable_cores() if device == "cpu" else 1),
        cache=None if arguments.no_cache else default_cache(),
    )
    print(done.screen())
    done.raise_failures()
    return 0


def _device(name: str) -> str:
    """`auto` passes over mps, on which Whisper's word alignment does not run."""
    import torch

    from multimodal_ser.inference import chosen_device

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(chosen_device(name))
