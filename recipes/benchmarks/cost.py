"""What scoring costs: hours of audio through a measured speed and a price that is stated.

    python recipes/benchmarks/cost.py MEASURED.json... --price 0.04

MEASURED.json is what `recipes/benchmarks/scoring.py` printed (a whole run: decoding, speech detection, model,
files), or what `multimodal-ser bench --json` kept (the stages of the model alone, one after the other). The
speed is seconds of audio for each second of processor time, so it does not ask how many cores there were.
Loading the model, some seconds for each worker, is left out.
"""

import argparse
import json
import sys
from pathlib import Path

HOURS = (1, 10_000, 1_000_000)
# USD for an hour of audio, as sellers state it.
SOLD = (
    ("Modulate, emotion detection in batches", 0.02, "vendor's page, 7 October 2026"),
    ("AssemblyAI Universal-2, transcription; sentiment is about 0.02 more", 0.15, "7 October 2026"),
    ("Deepgram Nova-3, transcription of recordings", 0.46, "1 August 2026"),
    ("Hume Expression Measurement, audio only", 3.83, "listed by a third party, May 2026"),
)
FORMULA = "core hours = hours of audio / speed; USD = core hours x price"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("measured", nargs="+", type=Path, metavar="MEASURED.json")
    parser.add_argument("--price", type=float, required=True, metavar="USD", help="of an hour of one core")
    parser.add_argument("--cores", type=int, default=1_000, help="for the days that the largest job takes")
    options = parser.parse_args()
    if options.price < 0 or options.cores < 1:
        sys.exit("--price must be 0 or more, --cores 1 or more")
    rows = [row_of(path.stem, speed_of(path), options.price, options.cores) for path in options.measured]
    print(table(rows, options.price, options.cores))


def speed_of(path: Path) -> float:
    """Seconds of audio that one second of one core scores."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if "stages" not in found:
        return found["times_real_time_per_core_without_start_up"]
    stages = {
        name: stage["xrt_per_core"]
        for name, stage in found["stages"].items()
        if not name.startswith("audio ") or name == "audio torch-fp32"  # others are choices beside it
    }
    if missing := [name for name, speed in stages.items() if not speed]:
        sys.exit(f"{path}: no processor time of {missing[0]}; measure longer (bench --seconds, --rounds)")
    return 1 / sum(1 / speed for speed in stages.values())


def row_of(name: str, speed: float, price: float, cores: int) -> list[str]:
    costs = [usd(hours / speed * price) for hours in HOURS]
    return [name, f"{speed:.1f}", *costs, f"{HOURS[-1] / speed / cores / 24:.1f}"]


def usd(cost: float) -> str:
    return f"{cost:,.4f}" if cost < 1 else f"{cost:,.2f}" if cost < 100 else f"{cost:,.0f}"


def table(rows: list[list[str]], price: float, cores: int) -> str:
    hours = [f"{count:,} h, USD" for count in HOURS]
    head = ["model", "x real time per core", *hours, f"days on {cores:,} cores for {HOURS[-1]:,} h"]
    sold = [[name, "", *map(usd, (each * count for count in HOURS)), ""] for name, each, _ in SOLD]
    lines = [head, ["---"] * len(head), *rows, *sold]
    sources = "; ".join(f"{name.partition(',')[0]}: {source}" for name, _, source in SOLD)
    said = f"{FORMULA}. Price: USD {price:g} per core hour. Prices of others: {sources}."
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + f"\n\n{said}"


if __name__ == "__main__":
    main()
