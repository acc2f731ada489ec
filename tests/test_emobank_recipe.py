"""The correlations that the EmoBank recipe prints are those of its runs."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "recipes" / "emobank" / "pearson.py"


def write_metrics(run: Path, valence: float) -> None:
    values = {"arousal": 0.5, "valence": valence, "dominance": 0.25}
    readings = {"text": {name: {"pearson": {"value": value}} for name, value in values.items()}}
    (run / "evaluation").mkdir(parents=True)
    sets = {"development": {"readings": readings}, "test": {"readings": readings}}
    (run / "evaluation" / "metrics.json").write_text(json.dumps({"sets": sets}))


def said(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_mean_and_range_over_seeds_are_printed_valence_first(tmp_path: Path) -> None:
    for seed, valence in enumerate((0.70, 0.75, 0.77)):
        write_metrics(tmp_path / "runs" / "text" / f"seed{seed}", valence)
    (tmp_path / "runs" / "unfinished" / "seed0").mkdir(parents=True)
    lines = said(str(tmp_path)).stdout.splitlines()
    assert lines[0].split() == ["valence", "arousal", "dominance"]
    assert lines[2].split() == [
        "text", "test", "3", "runs", "0.740", "(0.700..0.770)", "0.500", "(0.500..0.500)", "0.250",
        "(0.250..0.250)",
    ]  # fmt: skip
    assert len(lines) == 3


def test_a_folder_without_runs_is_explained(tmp_path: Path) -> None:
    refused = said(str(tmp_path))
    assert refused.returncode == 1
    assert "usage: pearson.py WORK, the --work folder of run.sh" in refused.stderr
