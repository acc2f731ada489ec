"""`multimodal-ser manifest FILE...`: show, filter, merge, draw, move the audio root."""

import argparse
from pathlib import Path

HOURS_UP_TO = 20_000  # audio files whose headers are read without being asked to
_FIGURES = (".png", ".svg", ".pdf")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is read, what of it is kept, and where it goes."""
    add = parser.add_argument
    add("manifests", nargs="+", type=Path, metavar="FILE", help="one manifest, or several to be merged")
    add(
        "-o",
        "--output",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="write a manifest (.jsonl) or histograms of the dimensions (.png, .svg, .pdf); repeatable",
    )
    add(
        "--keep",
        action="append",
        default=[],
        metavar="CONDITION",
        help="keep what fulfils it, such as split=train, speaker!=A,B or valence>0.5; repeatable",
    )
    add(
        "--drop",
        action="append",
        default=[],
        metavar="CONDITION",
        help="drop what fulfils it, such as emotion=no_agreement; repeatable",
    )
    add("--audio-root", type=Path, metavar="DIR", help="where the audio lies now (of one manifest)")
    add(
        "--hours", action="store_true", help=f"measure the hours of more than {HOURS_UP_TO:,} audio files too"
    )
    add("--seed", type=int, default=0, metavar="N", help="another seed shows ten other lines")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Read, filter, merge; write what was asked for, or show it."""
    from multimodal_ser import manifests
    from multimodal_ser.corpora import manifest_tools
    from multimodal_ser.errors import InputError

    for path in arguments.output:
        if path.suffix.lower() not in (".jsonl", *_FIGURES):
            raise InputError(f"--output {path}: the name must end in .jsonl, {', '.join(_FIGURES)}")
    if arguments.audio_root is not None and len(arguments.manifests) > 1:
        raise InputError("--audio-root belongs to one manifest: give each its own before merging them")
    files = [manifests.read(path, arguments.audio_root) for path in arguments.manifests]
    folder = next((p.parent for p in arguments.output if p.suffix.lower() == ".jsonl"), Path())
    result = manifest_tools.merged(files, folder)
    result = manifest_tools.filtered(result, arguments.keep, arguments.drop)
    result = manifest_tools.rerooted(result, folder)
    for path in arguments.output:
        if path.suffix.lower() == ".jsonl":
            manifests.write(path, result.header, result.utterances)
        else:
            manifest_tools.draw(result, path)
        print(f"written: {path} ({len(result):,} utterances)")
    if not arguments.output:
        print(manifest_tools.shown(result, _seconds(result, arguments.hours), arguments.seed))


def _seconds(manifest, always: bool) -> dict[str, float]:
    """Lengths of the audio files that are there, unless they are many."""
    from multimodal_ser.corpora import audio_files

    names = {u.audio for u in manifest.utterances if u.audio is not None and u.end is None}
    if manifest.root is None or not names or (len(names) > HOURS_UP_TO and not always):
        return {}
    facts = audio_files.examine(manifest.root, names)
    return {name: item.seconds for name, item in facts.items() if item.seconds is not None}
