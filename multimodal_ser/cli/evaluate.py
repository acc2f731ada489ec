"""`multimodal-ser evaluate`."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder or model folder")
    parser.add_argument("manifest", help="manifest of labelled utterances")
    parser.add_argument("-o", "--output-dir", required=True, help="folder for metrics.json and predictions")
    parser.add_argument("--split", nargs="+", default=["test"], help="sets to measure")
    parser.add_argument("--audio-root", help="where the audio lies, if the corpus has moved")
    parser.add_argument(
        "--transcripts",
        nargs="+",
        default=["as given"],
        metavar="KIND",
        help="also measure with other transcripts: empty, shuffled",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.evaluation import evaluate, table
        from multimodal_ser.inference import Predictor
        from multimodal_ser.manifests import read

    predictor = Predictor.load(arguments.model, arguments.device)
    manifest = read(arguments.manifest, arguments.audio_root)
    kinds = list(dict.fromkeys(["as given", *arguments.transcripts]))
    report = evaluate(predictor, manifest, arguments.split, arguments.output_dir, kinds)
    for measured in report["sets"].values():
        print(table(measured["readings"], measured["protocol"]))
    return 0
