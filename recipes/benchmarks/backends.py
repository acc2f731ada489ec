"""The audio branch in every backend that this machine has, at true sizes with random weights.

    python recipes/benchmarks/backends.py --work WORK [--size distilhubert]

makes a model, exports it with int8 calibrated on the synthetic corpus, and runs `bench --compare` on it.
Random weights say nothing about accuracy; the gate of a trained model does.
"""

import argparse
from pathlib import Path

from multimodal_ser.bench.sizes import SIZES, random_model
from multimodal_ser.cli import main
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.models.ser import SerConfig, SerModel


def make(size: str, work: Path, clips: int) -> Path:
    """A model folder with its export."""
    folder = work / size
    if not (folder / "onnx" / "export.json").is_file():
        SerModel(SerConfig(fusion="audio"), random_model(size).audio).save_pretrained(folder)
        options = {"speakers": 7, "utterances": 6, "seed": 0, "workers": 1}
        made = prepare("synthetic", work / "corpus", work / "manifest", options=options)
        export = ["--manifest", str(made.manifest), "--clips", str(clips)]
        main(["export", str(folder), "-o", str(folder / "onnx"), *export])
    return folder


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for model, corpus and results")
    parser.add_argument("--size", choices=SIZES, default="distilhubert")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clips", type=int, default=12, help="that calibrate int8")
    wanted = parser.parse_args()
    folder = make(wanted.size, wanted.work, wanted.clips)
    options = ["--rounds", str(wanted.rounds), "--threads", str(wanted.threads)]
    results = ["--json", str(folder / "bench.json"), "--figure", str(folder / "bench.png")]
    return main(["bench", str(folder), "--compare", *options, *results])


if __name__ == "__main__":
    raise SystemExit(run())
