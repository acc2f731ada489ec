"""`multimodal-ser evaluate`."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder or model folder")
    parser.add_argument("manifest", help="manifest of labelled utterances")
    parser.add_argument("-o", "--output-dir", required=True, help="folder for figures, tables and page")
    parser.add_argument(
        "--split", nargs="+", help="sets to measure; without it every split whose name begins with 'test'"
    )
    parser.add_argument(
        "--fold", type=int, help="test on this fold; without it the fold that the run was trained for, if any"
    )
    parser.add_argument("--audio-root", help="where the audio lies, if the corpus has moved")
    parser.add_argument(
        "--transcripts",
        nargs="+",
        default=["all"],
        metavar="KIND",
        help="also measure with other transcripts, one pass each: a source such as reference or asr, empty, "
        "shuffled, or all of them; given: only those of the manifest",
    )
    parser.add_argument(
        "--train-manifest",
        help="what the model was trained on, to tell known speakers from new ones; a run folder knows it "
        "while its manifest is where it was, or is the one that is measured",
    )
    parser.add_argument("--scale", default="0-1", help="of predictions, means and RMSE, for example 1-7")
    parser.add_argument(
        "--format", choices=("csv", "msp"), default="csv", help="msp: also as the MSP challenge wants it"
    )
    parser.add_argument("--svg", action="store_true", help="figures as SVG as well")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0, help="of resamples and shuffled transcripts")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.card import add_evaluation
        from multimodal_ser.evaluation import evaluate, screen, splits_to_test
        from multimodal_ser.evaluation.page import write_page
        from multimodal_ser.evaluation.training_data import in_folds, of_run
        from multimodal_ser.inference import Predictor, model_folder
        from multimodal_ser.labels import Scale
        from multimodal_ser.manifests import read

    scale = Scale.parse(arguments.scale)
    manifest = read(arguments.manifest, arguments.audio_root)
    training = of_run(arguments.model, arguments.manifest, arguments.train_manifest, arguments.fold)
    manifest = in_folds(manifest, arguments.model, arguments.fold, training)
    splits = arguments.split or splits_to_test(manifest)
    report = evaluate(
        Predictor.load(arguments.model, arguments.device),
        manifest,
        splits,
        arguments.output_dir,
        arguments.transcripts,
        training,
        scale,
        challenge=arguments.format == "msp",
        seed=arguments.seed,
    )
    print("\n\n".join(screen(measured) for measured in report["sets"].values()))
    print(f"\nwritten: {write_page(arguments.output_dir, arguments.svg)}")
    print(add_evaluation(model_folder(arguments.model), report))
    return 0
