"""Comparing layer reports: made by hand, so that every difference is known."""

import copy
import json

import pytest
from test_layer_page import encoder, results

from multimodal_ser.analysis.comparing import COMPARISON, PAGE, compare, table
from multimodal_ser.cli import main
from multimodal_ser.errors import InputError


def report(path, corpus="made up", **encoders):
    made = results(**encoders) | {"corpus": corpus}
    path.mkdir(parents=True, exist_ok=True)
    (path / "results.json").write_text(json.dumps(made), encoding="utf-8")
    return path / "results.json"


def placed(centre, score):
    made = copy.deepcopy(encoder())
    made["places"] = {
        "probes": {
            name: {"best_layer": 1, "best_score": score, "best_depth": centre, "centre": centre}
            for name in made["dimensions"]
        }
    }
    return made


BEFORE = placed([0.30, 0.26, 0.33], [0.50, 0.47, 0.54])
AFTER = placed([0.50, 0.46, 0.54], [0.52, 0.48, 0.55])


def test_the_interval_of_a_difference_is_that_of_independent_samples(tmp_path):
    first, second = report(tmp_path / "a", a=BEFORE), report(tmp_path / "b", b=AFTER)
    (found,) = compare([first, second])["differences"].values()
    assert found["valence"]["depth"]["difference"] == pytest.approx([0.20, 0.15, 0.20 + (0.04**2 * 2) ** 0.5])
    assert found["valence"]["depth"]["verdict"] == "lies deeper"
    assert found["valence"]["score"]["verdict"] == "open"


def test_turned_round_it_says_the_opposite(tmp_path):
    first, second = report(tmp_path / "a", a=AFTER), report(tmp_path / "b", b=BEFORE)
    (found,) = compare([first, second])["differences"].values()
    assert found["arousal"]["depth"]["verdict"] == "lies shallower"


def test_what_is_undefined_is_open(tmp_path):
    first = report(tmp_path / "a", a=BEFORE, b=placed([None, None, None], [0.1, 0.0, 0.2]))
    (found,) = compare([first])["differences"].values()
    assert found["arousal"]["depth"] == {"difference": [None, None, None], "verdict": "open"}


def test_the_same_name_twice_is_told_apart_by_corpus_or_folder(tmp_path):
    first, second = report(tmp_path / "a", a=BEFORE), report(tmp_path / "b", "other", a=AFTER)
    assert list(compare([first, second])["entries"]) == ["a, made up", "a, other"]
    second = report(tmp_path / "b", a=AFTER)
    assert list(compare([first, second])["entries"]) == ["a, made up (a)", "a, made up (b)"]


def test_what_else_differs_is_said(tmp_path):
    first, second = report(tmp_path / "a", a=BEFORE), report(tmp_path / "b", "other", b=AFTER)
    assert compare([first, second])["cautions"] == ["different corpora: made up; other"]


def test_the_command_writes_page_and_json(tmp_path, capsys):
    first, second = report(tmp_path / "a", a=BEFORE), report(tmp_path / "b", b=AFTER)
    assert main(["layers", "compare", str(first), str(second), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "valence    lies deeper (0.200 [0.150, 0.257] of the depth), open" in said
    page = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "lies deeper" in page
    assert '<th scope="row">valence lies deeper</th><td class="verdict">undecided</td>' in page
    kept = json.loads((tmp_path / "out" / COMPARISON).read_text(encoding="utf-8"))
    assert table(kept) in said


def test_one_encoder_is_nothing_to_compare(tmp_path):
    with pytest.raises(InputError, match=r"only one encoder in .*results\.json.*two results"):
        compare([report(tmp_path / "a", a=BEFORE)])
