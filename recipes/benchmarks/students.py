"""How fast students on log-mel bands are, against a DistilHuBERT of true size, and bfloat16 by width.

One core, random weights. Each round every encoder hears the same ten seconds, one after the other; the figure
is CPU seconds of this process, which other programs on the machine do not change much. The ratio is taken
within each round, so that a slow moment hits both; the table gives its median and its least and greatest.

    OMP_NUM_THREADS=1 python recipes/benchmarks/students.py [--widths 64 128 192 256 512]

With --widths it compares bfloat16 with single precision instead: the DistilHuBERT, and encoders of six blocks
on log-mel bands, so wide. ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 before it leaves AMX out.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from multimodal_ser.backends.running import BackedModel
from multimodal_ser.config import load_config
from multimodal_ser.models.hubert import PUBLISHED, HubertEncoder
from multimodal_ser.models.mel import SAMPLE_RATE, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel

REFERENCE = "ntu-spml/distilhubert"
STUDENTS = ("mel", "small")  # experiments of recipes/distill
DISTILL = Path(__file__).parents[1] / "distill"


@torch.inference_mode()
def rounds(encoders: dict[str, Callable], seconds: float, count: int) -> dict[str, np.ndarray]:
    """CPU seconds (rounds,) of one pass of each encoder."""
    waves = 0.1 * torch.randn(1, round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([waves.shape[1]])
    taken = {name: np.zeros(count) for name in encoders}
    for encoder in encoders.values():
        encoder(waves, lengths)  # the first pass allocates
    for number in range(count):
        for name, encoder in encoders.items():
            begun = time.process_time()
            encoder(waves, lengths)
            taken[name][number] = time.process_time() - begun
    return taken


def by_width(widths: list[int], seconds: float, count: int) -> None:
    """Print what bfloat16 saves, by width."""
    sizes = load_config(DISTILL / "mel.yaml").model.audio.mel
    encoders = {REFERENCE: HubertEncoder.from_config(PUBLISHED[REFERENCE])}
    for width in widths:
        encoders[f"mel, {width} wide"] = MelEncoder(
            replace(sizes, width=width, heads=4, feedforward=4 * width)
        )
    print("| encoder | CPU s, single precision | bfloat16 | times faster, median (least to greatest) |")
    print("|---|---|---|---|")
    for name, encoder in encoders.items():
        model = SerModel(SerConfig(fusion="audio"), encoder).eval()
        ways = {"fp32": model.encode_audio, "bf16": BackedModel(model, "torch-bf16").encode_audio}
        taken = rounds(ways, seconds, count)
        ratio = taken["fp32"] / taken["bf16"]
        print(
            f"| {name} | {np.median(taken['fp32']):.4f} | {np.median(taken['bf16']):.4f} | "
            f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}) |"
        )


def main() -> None:
    """Print a line per encoder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of sound")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--widths", type=int, nargs="+", help="compare bfloat16 with single precision")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    if arguments.widths:
        by_width(arguments.widths, arguments.seconds, arguments.rounds)
        return
    encoders = {REFERENCE: HubertEncoder.from_config(PUBLISHED[REFERENCE]).eval()}
    for name in STUDENTS:
        encoders[name] = MelEncoder(load_config(DISTILL / f"{name}.yaml").model.audio.mel).eval()
    taken = rounds(encoders, arguments.seconds, arguments.rounds)
    print("| encoder | parameters M | CPU s, median | times faster, median (least to greatest) |")
    print("|---|---|---|---|")
    for name, encoder in encoders.items():
        size = sum(weight.numel() for weight in encoder.parameters()) / 1e6
        ratio = taken[REFERENCE] / taken[name]
        print(
            f"| {name} | {size:.2f} | {np.median(taken[name]):.3f} | {np.median(ratio):.1f} "
            f"({ratio.min():.1f} to {ratio.max():.1f}) |"
        )


if __name__ == "__main__":
    main()
