"""`multimodal-ser describe`."""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="experiment file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value, for example --set model.audio.frozen=all; may be repeated",
    )
    parser.add_argument(
        "--asr", metavar="NAME", help="count this Whisper model too, such as base or large-v3"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.config import load_config
        from multimodal_ser.description import describe, table
        from multimodal_ser.settings import plain

    description = describe(load_config(arguments.config, arguments.set), arguments.asr)
    print(json.dumps(plain(description), indent=2) if arguments.json else table(description))
    return 0
