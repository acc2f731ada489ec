"""`multimodal-ser licences`."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        default="starter",
        metavar="MODEL",
        help="a run or model folder, or the name of a published encoder or recogniser, such as whisper:base",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    import json

    from multimodal_ser.installation import explained_imports

    with explained_imports():
        from multimodal_ser import licences

    found = licences.of_model(arguments.model)
    print(json.dumps(found, indent=2, ensure_ascii=False) if arguments.json else licences.listed(found))
    return 0
