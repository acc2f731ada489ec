"""`multimodal-ser doctor`: one screen that says whether this machine is fit, and what to mend."""

import argparse
import json
import sys

from multimodal_ser.cli import WRONG_INPUT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit code 2 if one of the main jobs (train, score, layers) could not run here."
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--offline", action="store_true", help="do not ask whether model hubs can be reached")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.doctor import diagnose
    from multimodal_ser.doctor.screen import draw

    if sys.stderr.isatty():
        print("looking (about ten seconds) ...", file=sys.stderr)
    findings = diagnose(arguments.offline)
    print(json.dumps(findings, indent=2) if arguments.json else draw(findings))
    return 0 if findings["fit"] else WRONG_INPUT
