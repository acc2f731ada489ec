"""The table over runs: means, deviations, intervals and ratios against values worked out by hand."""

import json
from pathlib import Path

import pytest

from multimodal_ser.comparison import compare, table
from multimodal_ser.errors import InputError


def write_run(
    runs: Path,
    experiment: str,
    variant: str,
    arousal: float | None,
    trainable: int,
    accuracy: float | None = None,
) -> None:
    folder = runs / experiment / variant
    (folder / "evaluation").mkdir(parents=True)
    interval = {"value": arousal, "low": None, "high": None}
    if arousal is not None:
        interval |= {"low": arousal - 0.1, "high": arousal + 0.05}
    measured: dict = {"readings": {"fused": {"arousal": {"ccc": interval}}, "audio": {"arousal": {}}}}
    if accuracy is not None:
        measured["classes"] = {"unweighted_accuracy": {"value": accuracy, "low": None, "high": None}}
    (folder / "evaluation" / "metrics.json").write_text(json.dumps({"sets": {"test": measured}}))
    (folder / "parameters.json").write_text(json.dumps({"total": 2 * trainable, "trainable": trainable}))


def test_variants_become_mean_and_sample_deviation_and_size_a_ratio(tmp_path: Path) -> None:
    for variant, arousal in (("seed0", 0.5), ("seed1", 0.6), ("seed2", 0.7)):
        write_run(tmp_path, "ours", variant, arousal, 62_000_000)
        write_run(tmp_path, "large", variant, 0.6, 310_000_000)
    compared = compare(tmp_path, "large")
    ours = compared["sets"]["test"]["ours"]
    assert ours["measures"]["arousal"]["value"] == pytest.approx(0.6)
    assert ours["measures"]["arousal"]["deviation"] == pytest.approx(0.1)
    assert ours["ratio"] == pytest.approx(0.2)
    text = table(compared)
    assert "0.600 ± 0.100" in text
    assert "62.00 M" in text
    assert "20.0%" in text
    assert "over 3 variants" in text


def test_a_single_variant_keeps_its_interval_over_speakers(tmp_path: Path) -> None:
    write_run(tmp_path, "ours", "seed0", 0.5, 1_000_000, accuracy=0.75)
    text = table(compare(tmp_path))
    assert "0.500 [0.400, 0.550]" in text
    assert "0.750" in text
    assert "intervals of 95 % over speakers" in text


def test_an_undefined_figure_is_a_gap_not_a_zero(tmp_path: Path) -> None:
    write_run(tmp_path, "ours", "seed0", None, 1_000_000, accuracy=0.75)
    assert "arousal" not in compare(tmp_path)["sets"]["test"]["ours"]["measures"]


def test_wrong_folders_and_references_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no evaluated run in .*EXPERIMENT/VARIANT/evaluation/metrics.json"):
        compare(tmp_path)
    write_run(tmp_path, "hubert_large", "seed0", 0.5, 1)
    with pytest.raises(InputError, match=r"'hubert_lagre' \(did you mean 'hubert_large'\?\)"):
        compare(tmp_path, "hubert_lagre")
    (tmp_path / "hubert_large" / "seed0" / "evaluation" / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"not JSON .*run `evaluate` again"):
        compare(tmp_path)
