"""`multimodal-ser demo`."""

import argparse

from multimodal_ser.cores import usable_cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output-dir", default="demo_output", help="folder for everything it makes")
    parser.add_argument("--seed", type=int, default=0, help="of the corpus and of the training")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="processes that make the corpus")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.demo import demonstrate

    demonstrate(arguments.output_dir, arguments.seed, arguments.jobs)
    return 0
