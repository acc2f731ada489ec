"""`multimodal-ser export`."""

import argparse

PRECISIONS = ("fp32", "bf16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="run folder or model folder")
    parser.add_argument("-o", "--output-dir", required=True, metavar="DIR", help="folder for the graphs")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        help="beside fp32, which is always written; if not given, all: int8 only with --manifest",
    )
    parser.add_argument("--manifest", help="real utterances that calibrate int8 and measure parity")
    parser.add_argument("--audio-root", metavar="DIR", help="where the audio lies, if the corpus has moved")
    parser.add_argument("--clips", type=int, default=32, metavar="N", help="utterances that calibrate int8")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of utterances")


def run(arguments: argparse.Namespace) -> int:
    from multimodal_ser.installation import explained_imports

    with explained_imports():
        import onnxruntime  # noqa: F401, before minutes of work that need it
        import onnxscript  # noqa: F401

        from multimodal_ser.export import export_model
        from multimodal_ser.manifests import read

    manifest = read(arguments.manifest, arguments.audio_root) if arguments.manifest else None
    precisions = arguments.precision or (PRECISIONS if manifest is not None else PRECISIONS[:2])
    parity = export_model(
        arguments.model, arguments.output_dir, precisions, manifest, arguments.clips, arguments.seed
    )
    print(f"difference from the network in unit scale, on {parity['clips']}")
    for name, report in parity["precisions"].items():
        print(f"  {name:5}  largest {report['max']:.1e}  mean {report['mean']:.1e}")
    print(f"written: {arguments.output_dir}")
    return 0
