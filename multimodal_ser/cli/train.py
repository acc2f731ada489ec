"""`multimodal-ser train`."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="experiment file (YAML)")
    parser.add_argument("-o", "--output-dir", required=True, help="run folder; an unfinished run goes on")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value, for example --set training.epochs=3; may be repeated",
    )
    parser.add_argument("--restart", action="store_true", help="forget the checkpoints in the run folder")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser import config

    experiment = config.load_config(arguments.config, arguments.set)
    progress = config.run(experiment, arguments.output_dir, arguments.restart)
    measured_on = "development data" if experiment.data.development else "the training data itself"
    print(
        f"best score {progress.best_score:.4f} on {measured_on} at step {progress.best_step} "
        f"of {progress.step}; what was trained is {arguments.output_dir}/model"
    )
    return 0
