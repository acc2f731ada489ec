"""`multimodal-ser score`."""

import argparse
import os
import sys
from pathlib import Path

from multimodal_ser.cores import usable_cores

_GPUS = ("/dev/nvidiactl", "/dev/kfd")  # what the drivers of NVIDIA and AMD make


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is scored, with which model, and what is written."""
    add = parser.add_argument
    add("media", nargs="*", type=Path, metavar="MEDIA", help="recordings, or folders of them")
    add("--feed", metavar="FILE_OR_URL", help="a podcast's RSS feed, whose episodes are downloaded, instead")
    add("--newest", type=int, metavar="N", help="only so many of the feed's episodes")
    add("--since", type=_day, metavar="DATE", help="only episodes of that day or later, such as 2026-01-31")
    add("--until", type=_day, metavar="DATE", help="only episodes of that day or earlier")
    add("--download-hours", type=float, default=6.0, metavar="H", help="that one of its files may take")
    add(
        "--model",
        default="starter",
        metavar="DIR",
        help="a model folder or the run that made it; `starter` comes with this package",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="where results go; a run goes on there",
    )
    add(
        "--transcript",
        metavar="FILE",
        help="of a single recording, or `none`; else what lies beside is taken",
    )
    add("--speakers", type=Path, metavar="F.rttm", help="who speaks when, of a single recording")
    add("--asr", metavar="ENGINE", help="recognise words where no transcript is: whisper or faster-whisper")
    add("--asr-model", default="base", metavar="MODEL", help="name of its model, or its file or folder")
    add("--align", action="store_true", help="give plain text (.txt) the times of the words that --asr hears")
    add("--language", metavar="CODE", help="of the recordings, for --asr; recognised if it is not given")
    add(
        "--expect",
        nargs="+",
        default=[],
        metavar="CODE",
        help="languages whose words are trusted; all if none",
    )
    add("--keep-untrusted", action="store_true", help="read words that the trust gate doubts; flags stay")
    add("--speech", default="auto", help="speech detector: auto, silero (the extra [vad]), energy, none")
    add("--window", type=float, metavar="SECONDS", help="windows of this length instead of sentences")
    add("--hop", type=float, metavar="SECONDS", help="from one window to the next")
    add("--scale", default="0-1", metavar="LOW-HIGH", help="of all values that are written, such as 1-7")
    add(
        "--formats", nargs="+", metavar="NAME", help="csv vtt textgrid report parquet; JSON is always written"
    )
    add("--jobs", type=int, metavar="N", help="processes; one per core, or one on a GPU")
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine, or actors of a Ray cluster (the extra [cluster]; RAY_ADDRESS)",
    )
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add(
        "--backend",
        default="torch-fp32",
        metavar="NAME",
        help="what runs the encoders: auto is the fastest that is here and passed the model's accuracy gate",
    )
    add("--draft", type=Path, metavar="DIR", help="a small model that rates everything first; the full one")
    add("--draft-emotional", type=float, default=0.15, metavar="X", help="what is so far from the middle, or")
    add("--draft-apart", type=float, default=0.15, metavar="X", help="where voice and words are so far apart")
    add("--embed-audio", action="store_true", help="put each recording into its page, which grows by it")
    add(
        "--live",
        action="store_true",
        help="score raw sound from standard input while it comes, as JSON lines",
    )
    add("--rate", type=int, default=16_000, metavar="HZ", help="of the sound for --live: s16le, one channel")
    add("--live-transcript", type=Path, metavar="FILE", help="words for --live; read again when it grows")
    add("--live-longest", type=float, metavar="SECONDS", help="of a segment; as long as can be told in time")
    add("--shard", metavar="I/N", help="only this part of the recordings, for job arrays; then once without")


def run(arguments: argparse.Namespace) -> int:
    """Score, say what came of it, and fail if episodes failed."""
    from multimodal_ser.errors import InputError
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.models.packaged import STARTER_IS, starter_folder
        from multimodal_ser.podcast.jobs import jobs_of, shard_of
        from multimodal_ser.podcast.media import recordings

    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs {arguments.jobs}: must be at least 1")
    _check_sources(arguments)
    if starter_folder(arguments.model):
        print(STARTER_IS, file=sys.stderr)
    if arguments.live:
        return _live(arguments)
    no_transcript = arguments.transcript == "none"
    transcript = Path(arguments.transcript) if arguments.transcript and not no_transcript else None
    failed: list = []
    if arguments.feed:
        jobs, suffix, failed = _from_feed(arguments)
    else:
        media = recordings(arguments.media)
        jobs, suffix = shard_of(
            jobs_of(media, transcript, arguments.speakers, look_beside=not no_transcript), arguments.shard
        )
    done = (_by_ray if arguments.engine == "ray" else _locally)(arguments, jobs, suffix, failed)
    print(done.screen())
    done.raise_failures()
    return 0


def _locally(arguments: argparse.Namespace, jobs: list, suffix: str, failed: list):
    if len(jobs) > 1 and _are_several(arguments):
        from multimodal_ser.podcast import PRELOADED
        from multimodal_ser.workers import processes_with

        processes_with(PRELOADED)  # while this process imports torch and loads the model
    from multimodal_ser.inference import chosen_device
    from multimodal_ser.podcast.scoring import score

    device = chosen_device(arguments.device).type
    count = arguments.jobs or (usable_cores() if device == "cpu" else 1)
    return score(jobs, _options(arguments, device, count), suffix, failed)


def _are_several(arguments: argparse.Namespace) -> bool:
    """Whether several processes will score, as far as can be told without torch."""
    if arguments.jobs:
        return arguments.jobs > 1
    is_cpu = arguments.device == "cpu" or (arguments.device == "auto" and not any(map(os.path.exists, _GPUS)))
    return is_cpu and usable_cores() > 1


def _by_ray(arguments: argparse.Namespace, jobs: list, suffix: str, failed: list):
    """This machine loads the model on its processor, to say what is wrong with it; the actors score."""
    from functools import partial

    from multimodal_ser.podcast.cluster import connected, spread_by_ray
    from multimodal_ser.podcast.scoring import score

    with connected(arguments.jobs, arguments.device) as actors:
        transcriber = _transcriber(arguments, actors.device)
        spread = partial(spread_by_ray, actors=actors, make_transcriber=transcriber)
        return score(jobs, _options(arguments, "cpu", actors.count), suffix, failed, spread)


def _options(arguments: argparse.Namespace, device: str, count: int):
    from multimodal_ser.labels import Scale
    from multimodal_ser.podcast.cascade import Draft
    from multimodal_ser.podcast.engine import EngineOptions
    from multimodal_ser.podcast.segments import SegmentPolicy
    from multimodal_ser.podcast.working import ScoreOptions
    from multimodal_ser.transcripts.listening import default_cache
    from multimodal_ser.transcripts.trust import TrustConfig

    return ScoreOptions(
        arguments.model,
        arguments.output,
        EngineOptions(
            SegmentPolicy(window=arguments.window, hop=arguments.hop),
            arguments.speech,
            trust=TrustConfig(languages=tuple(arguments.expect)),
            keep_untrusted=arguments.keep_untrusted,
            align=arguments.align,
        ),
        tuple(arguments.formats or _default_formats()),
        Scale.parse(arguments.scale),
        device,
        count,
        _transcriber(arguments, device),
        default_cache(),
        arguments.backend,
        arguments.embed_audio,
        arguments.draft and Draft(arguments.draft, arguments.draft_emotional, arguments.draft_apart),
    )


def _day(text: str):
    from datetime import date

    return date.fromisoformat(text)


def _check_sources(arguments: argparse.Namespace) -> None:
    from multimodal_ser.errors import InputError

    if sum(map(bool, (arguments.media, arguments.feed, arguments.live))) != 1:
        raise InputError(
            "give either recordings (or folders of them) or --feed or --live, and one of them alone"
        )
    if arguments.live != (arguments.output is None):
        raise InputError(
            "--live writes to standard output; leave out -o" if arguments.live else "-o DIR is missing"
        )
    if arguments.align and arguments.asr is None:
        raise InputError("--align needs a recogniser, which hears the words in their time: --asr whisper")
    if arguments.engine == "ray" and arguments.live:
        raise InputError("--live scores on this machine; leave out --engine ray")
    if arguments.engine == "ray" and arguments.backend == "auto":
        raise InputError("--backend auto looks at one machine, --engine ray may use others; name a backend")
    of_a_feed = {name: getattr(arguments, name) for name in ("newest", "since", "until")}
    if not arguments.feed and any(value is not None for value in of_a_feed.values()):
        raise InputError("--newest, --since and --until choose among the episodes of a --feed")
    if arguments.feed and (arguments.speakers or arguments.transcript not in (None, "none")):
        raise InputError("--transcript FILE and --speakers belong to one recording, and --feed brings many")


def _live(arguments: argparse.Namespace) -> int:
    """A JSON line for each segment, as soon as it has ended."""
    import json

    from multimodal_ser.labels import Scale
    from multimodal_ser.podcast.engine import EngineOptions
    from multimodal_ser.podcast.live import LiveScorer, blocks_of, read_ahead
    from multimodal_ser.transcripts.trust import TrustConfig

    options = EngineOptions(
        detector=arguments.speech,
        trust=TrustConfig(languages=tuple(arguments.expect)),
        keep_untrusted=arguments.keep_untrusted,
    )
    scorer = LiveScorer(
        arguments.model,
        options,
        device=arguments.device,
        backend=arguments.backend,
        transcript=arguments.live_transcript,
        scale=Scale.parse(arguments.scale),
        longest=arguments.live_longest,
    )
    if scorer.said:
        print(scorer.said, file=sys.stderr)
    blocks = read_ahead(blocks_of(sys.stdin.buffer, arguments.rate))
    print("listening", file=sys.stderr, flush=True)
    for line in scorer.lines(blocks):
        print(json.dumps(line, ensure_ascii=False, allow_nan=False), flush=True)
    return 0


def _from_feed(arguments: argparse.Namespace):
    """Jobs for what could be brought, and outcomes of what could not."""
    from multimodal_ser.podcast.feeds import Wanted, gather
    from multimodal_ser.podcast.working import Outcome

    found = gather(
        arguments.feed,
        arguments.output,
        Wanted(arguments.newest, arguments.since, arguments.until),
        shard=arguments.shard,
        transcripts=arguments.transcript != "none",
        language=arguments.language,
        hours=arguments.download_hours,
    )
    return found.jobs, found.suffix, [Outcome(job, reason) for job, reason in found.failed]


def _default_formats() -> tuple[str, ...]:
    from importlib.util import find_spec

    return ("csv", "vtt", "textgrid", "report", *(["parquet"] if find_spec("pyarrow") else []))


def _transcriber(arguments: argparse.Namespace, device: str):
    if arguments.asr is None:
        return None
    from functools import partial

    from multimodal_ser.transcripts.asr import AsrOptions, load_transcriber

    options = AsrOptions(language=arguments.language, times="words" if arguments.align else "segments")
    model = arguments.asr_model
    if os.path.exists(model):  # or a name
        model = os.path.abspath(model)
    if arguments.device == "auto" and device == "mps":  # where Whisper's word alignment does not run
        device = "cpu"
    return partial(load_transcriber, arguments.asr, model, options, device)
