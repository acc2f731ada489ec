"""`multimodal-ser bench`."""

import argparse

from multimodal_ser.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", help="run folder or model folder")
    parser.add_argument(
        "--gate",
        metavar="MANIFEST",
        help="instead: compare what the model says in reduced precision with single precision on utterances, "
        "and keep in the model folder which backends may be used",
    )
    parser.add_argument("--split", help="set of the gate's manifest; all if not given")
    parser.add_argument("--audio-root", metavar="DIR", help="where the audio lies, if the corpus has moved")


def run(arguments: argparse.Namespace) -> int:
    if arguments.gate:
        return _gate(arguments)
    raise InputError("bench wants MODEL --gate MANIFEST")


def _gate(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        raise InputError("bench --gate MANIFEST wants a model folder, whose gate it is")
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.backends.gating import run_gate
        from multimodal_ser.manifests import read

    manifest = read(arguments.gate, arguments.audio_root)
    if arguments.split:
        manifest = manifest.split(arguments.split)
    name = f"{manifest.header.corpus}, {arguments.split or 'all sets'}"
    found = run_gate(arguments.model, manifest, name)
    for backend, verdict in found["verdicts"].items():
        said = "passed" if verdict["passed"] else "failed"
        print(f"{backend:14} {said}: {verdict['why']}")
        for reading, drop in verdict["ccc_drop"].items():
            print(f"  {reading:16} CCC falls by {'NaN' if drop is None else format(drop, '.4f')}")
        for reading, value in verdict["mean_absolute_deviation"].items():
            print(
                f"  {reading:16} deviates by {'NaN' if value is None else format(value, '.4f')} in the mean"
            )
    for backend, reason in found["unavailable"].items():
        print(f"{backend:14} not measured: {reason}")
    return 0
