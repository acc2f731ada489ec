"""`multimodal-ser layers`."""

import argparse
import sys

from multimodal_ser.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--self-test",
        action="store_true",
        required=True,
        help="measure made-up layers whose content is known, and show which measures find it",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="made-up encoders to measure")


def run(arguments: argparse.Namespace) -> int:
    if arguments.seeds < 1:
        raise InputError(f"--seeds {arguments.seeds}: at least 1; 20 tell how often a measure fails")
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from tqdm import tqdm

        from multimodal_ser.analysis import self_test

    seeds = tqdm(range(arguments.seeds), desc="self-test", unit="seed", leave=False, file=sys.stderr)
    print(self_test.table([self_test.run(seed) for seed in seeds]))
    return 0
