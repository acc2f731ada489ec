"""`multimodal-ser compare`."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", help="folder of EXPERIMENT/VARIANT run folders")
    parser.add_argument("-o", "--output", metavar="FILE", help="also write the table as JSON")
    parser.add_argument(
        "--reference", metavar="EXPERIMENT", help="experiment whose size the others are compared to"
    )


def run(arguments: argparse.Namespace) -> None:
    from multimodal_ser import comparison

    compared = comparison.compare(arguments.runs, arguments.reference)
    print(comparison.table(compared))
    if arguments.output:
        comparison.write(compared, arguments.output)
