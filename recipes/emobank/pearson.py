"""Pearson correlations of a run of this recipe, per experiment: mean over seeds, lowest and highest.

    python recipes/emobank/pearson.py runs/emobank

EmoBank is reported by Pearson correlation, the table of the recipe by CCC.
"""

import json
import sys
from pathlib import Path
from statistics import mean

DIMENSIONS = ("valence", "arousal", "dominance")  # in the order of the published tables


def correlations(run: Path, split: str) -> list[float]:
    """Of one run folder on one split."""
    measured = json.loads((run / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    said = measured["sets"][split]["readings"]["text"]
    return [said[name]["pearson"]["value"] for name in DIMENSIONS]


def main(work: Path) -> None:
    """Print a line per experiment and split."""
    print(f"{'':32}" + "".join(f"{name:>24}" for name in DIMENSIONS))
    for experiment in sorted(path for path in (work / "runs").iterdir() if path.is_dir()):
        runs = sorted(path.parent.parent for path in experiment.glob("*/evaluation/metrics.json"))
        for split in ("development", "test") if runs else ():
            columns = zip(*(correlations(run, split) for run in runs), strict=True)
            cells = "".join(f"{mean(c):>10.3f} ({min(c):.3f}..{max(c):.3f})" for c in columns)
            print(f"{experiment.name:16}{split:12}{len(runs)} run" + "s" * (len(runs) > 1) + cells)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "runs").is_dir():
        sys.exit("usage: pearson.py WORK, the --work folder of run.sh (runs/emobank unless it was given)")
    main(Path(sys.argv[1]))
