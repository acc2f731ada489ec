"""The table of costs: hours through a measured speed and a stated price."""

import json
from pathlib import Path

import pytest
from scripts import RECIPES, load_script

cost = load_script(RECIPES / "benchmarks" / "cost.py")


def test_core_hours_are_hours_through_speed_and_the_price_is_of_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    measured = tmp_path / "small.json"
    measured.write_text(json.dumps({"times_real_time_per_core_without_start_up": 20.0}))
    monkeypatch.setattr("sys.argv", ["cost.py", str(measured), "--price", "0.04", "--cores", "100"])
    cost.main()
    found = capsys.readouterr().out
    # 1 h / 20 x 0.04; 1,000,000 h / 20 = 50,000 core hours, on 100 cores 500 hours
    assert "| small | 20.0 | 0.0020 | 20.00 | 2,000 | 20.8 |" in found
    assert "| Hume Expression Measurement, audio only |  | 3.83 | 38,300 | 3,830,000 |  |" in found
    assert "Price: USD 0.04 per core hour." in found


def test_stages_of_a_benchmark_take_their_time_one_after_the_other(tmp_path: Path) -> None:
    stages = {"decode": 100.0, "audio torch-fp32": 25.0, "audio ort-int8": 80.0}
    measured = tmp_path / "bench.json"
    measured.write_text(json.dumps({"stages": {n: {"xrt_per_core": x} for n, x in stages.items()}}))
    assert cost.speed_of(measured) == pytest.approx(1 / (1 / 100 + 1 / 25))
    measured.write_text(json.dumps({"stages": {"text": {"xrt_per_core": None}}}))
    with pytest.raises(SystemExit, match="no processor time of text"):
        cost.speed_of(measured)
