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
    parser.add_argument(
        "--size",
        metavar="NAME",
        help="instead of a model: mel, distilhubert, hubert-base or hubert-large, random weights",
    )
    parser.add_argument(
        "--whisper",
        metavar="SIZE",
        help="also recognition, by openai-whisper with random weights of that size",
    )
    parser.add_argument("--compare", action="store_true", help="the audio branch in every backend, in turns")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the clip that is run")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each stage")
    parser.add_argument("--threads", type=int, help="of this process; as many as torch takes if not given")
    parser.add_argument("--json", metavar="FILE", help="keep the figures")
    parser.add_argument("--figure", metavar="FILE", help="draw where an hour of audio goes: .png or .svg")
    parser.add_argument(
        "--emulate",
        action="store_true",
        help="let the gate judge bfloat16 on a processor without it, at many times the cost",
    )
    parser.add_argument("--split", help="set of the gate's manifest; all if not given")
    parser.add_argument("--audio-root", metavar="DIR", help="where the audio lies, if the corpus has moved")


def run(arguments: argparse.Namespace) -> int:
    if arguments.gate:
        return _gate(arguments)
    if arguments.emulate:
        raise InputError("--emulate is a way of the gate: bench MODEL --gate MANIFEST --emulate")
    if (arguments.model is None) == (arguments.size is None):
        raise InputError("bench wants either MODEL or --size NAME; MODEL --gate MANIFEST measures accuracy")
    if arguments.rounds < 1 or arguments.seconds < 1 or (arguments.threads or 1) < 1:
        raise InputError("--rounds, --seconds and --threads must be 1 or more")
    return _measure(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from multimodal_ser.installation import explained_imports

    with explained_imports():
        import torch

        from multimodal_ser.bench.showing import draw, lines
        from multimodal_ser.bench.sizes import random_model
        from multimodal_ser.bench.stages import measure
        from multimodal_ser.cache import write_json
        from multimodal_ser.inference import model_folder
        from multimodal_ser.models.ser import SerModel

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    folder = None if arguments.size else model_folder(arguments.model)
    model = random_model(arguments.size) if folder is None else SerModel.from_pretrained(folder)
    report = measure(model, folder, arguments.compare, arguments.seconds, arguments.rounds, arguments.whisper)
    report["model"] = arguments.size or arguments.model
    print(lines(report))
    if arguments.json:
        write_json(arguments.json, report)
    if arguments.figure:
        draw(report, Path(arguments.figure))
    return 0


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
    found = run_gate(arguments.model, manifest, name, emulate=arguments.emulate)
    for backend, verdict in found["verdicts"].items():
        said = "passed" if verdict["passed"] else "failed"
        print(f"{backend:14} {said}: {verdict['why']}")
        for reading, drop in verdict["ccc_drop"].items():
            of = verdict["ccc"][reading]
            said = " of ".join("NaN" if v is None else format(v, ".4f") for v in (drop, of))
            print(f"  {reading:16} CCC falls by {said}")
        for reading, value in verdict["mean_absolute_deviation"].items():
            print(
                f"  {reading:16} deviates by {'NaN' if value is None else format(value, '.4f')} in the mean"
            )
    for backend, reason in found["unavailable"].items():
        print(f"{backend:14} not measured: {reason}")
    return 0
