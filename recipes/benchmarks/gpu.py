"""The audio branch on a GPU, by batch size and backend: times real time, share of the limit, memory.

    python recipes/benchmarks/gpu.py [--size distilhubert] [--batches 1 4 16 64 256] [--seconds 10]

True sizes, random weights. Every backend hears the same batches in turns; figures are medians of the rounds.
The limit is the best matrix product in the same precision, measured in the same run. `--device cpu` tries the
script where there is no GPU.
"""

import argparse
import contextlib
import statistics
from collections.abc import Sequence
from functools import partial

import torch

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.backends.running import BACKENDS, BackedModel
from multimodal_ser.bench.limit import TYPES, hubert_flops, peak, seconds_of
from multimodal_ser.bench.sizes import SIZES, random_model
from multimodal_ser.models.ser import SerConfig, SerModel

NAMES = [name for name, backend in BACKENDS.items() if backend.runtime == "torch"]


@torch.inference_mode()
def measure(
    size: str,
    batches: Sequence[int],
    seconds: float,
    rounds: int,
    device: torch.device,
    backends: Sequence[str],
) -> None:
    """Print a row per batch size and backend."""
    plain = SerModel(SerConfig(fusion="audio"), random_model(size).audio).eval().to(device)
    backed = {name: BackedModel(plain, name) for name in backends}
    limits = {precision: peak(precision, device) for precision in TYPES}
    flops = hubert_flops(plain.audio, round(seconds * SAMPLE_RATE))
    print("limits: " + ", ".join(f"{name} {value / 1e12:.3g} TFLOP/s" for name, value in limits.items()))
    print("| clips at once | backend | x real time (least to most) | % of the limit | GiB |")
    print("|---|---|---|---|---|")
    for count in batches:
        sound = 0.1 * torch.randn(count, round(seconds * SAMPLE_RATE), device=device)
        given = (sound, torch.full((count,), sound.shape[1], device=device), None, None)
        taken: dict[str, list[float]] = {name: [] for name in backed}
        memory = dict.fromkeys(backed, 0.0)
        for number in range(rounds + 1):  # the first allocates and compiles
            for name in taken:
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                with contextlib.suppress(torch.cuda.OutOfMemoryError):
                    spent = seconds_of(partial(backed[name].encode, *given), device)
                    if number:
                        taken[name].append(spent)
                if device.type == "cuda":
                    memory[name] = torch.cuda.max_memory_allocated() / 2**30
        for name, spent in taken.items():
            if not spent:
                print(f"| {count} | {name} | out of memory | | |")
                continue
            middle, *ends = (count * seconds / x for x in (statistics.median(spent), max(spent), min(spent)))
            share = 100 * middle / seconds * flops / limits[BACKENDS[name].precision]
            print(
                f"| {count} | {name} | {middle:,.0f} ({ends[0]:,.0f} to {ends[1]:,.0f}) | {share:.1f} | "
                f"{memory[name]:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=[name for name in SIZES if name != "mel"], default="distilhubert")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each clip")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", nargs="+", choices=NAMES, default=NAMES)
    wanted = parser.parse_args()
    device = torch.device(wanted.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that torch can use; --device cpu tries the script")
    print(f"{torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu'}, torch {torch.__version__}")
    measure(wanted.size, wanted.batches, wanted.seconds, wanted.rounds, device, wanted.backends)


if __name__ == "__main__":
    main()
