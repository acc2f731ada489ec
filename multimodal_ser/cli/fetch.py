"""`multimodal-ser fetch`."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="hub checkpoint (owner/name), whisper:SIZE or faster-whisper:SIZE; none: what the defaults need",
    )
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="DIR", help="a folder per name goes here"
    )
    parser.add_argument("--revision", help="commit or tag on the hub, for a single name")
    parser.epilog = "A folder that is complete is left alone, so that the same command may be repeated."


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.errors import InputError, SomeFailed
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser.fetching import DEFAULTS, fetch

    if arguments.revision and len(arguments.names) != 1:
        raise InputError(
            f"--revision is for a single name, not for {len(arguments.names) or 'the default names'}"
        )
    names, failed = arguments.names or DEFAULTS, []
    for name in names:
        try:
            fetched = fetch(name, arguments.output, arguments.revision)
        except InputError as error:
            if len(names) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed.append(name)
            continue
        done = "fetched" if fetched.new else "here already"
        print(f"{name}: {done}, {fetched.bytes / 1e6:.1f} MB; give {fetched.path} instead of the name")
    if failed:
        raise SomeFailed(f"{', '.join(failed)}; the same command fetches what is missing")
    return 0
