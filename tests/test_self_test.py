"""The measures find what was planted in made-up layers, the controls find nothing, the doubts are voiced."""

import numpy as np
import pytest

from multimodal_ser.analysis import self_test
from multimodal_ser.cli import main
from multimodal_ser.labels import DIMENSIONS

MEASURES = ("probes", "truncation", "similarity (CCA)", "similarity (CKA)", "incremental")


@pytest.fixture(scope="module")
def results():
    return [self_test.run(0, units=6)]  # half as wide as on the command line: a third of the time


def test_every_measure_places_every_dimension(results):
    for result in results:
        for measure in MEASURES:
            assert result.misses(measure) == [], measure


def test_permuted_labels_are_not_read(results):
    for result in results:
        assert result.control.low <= 0 <= result.control.high
        assert result.control.high - result.control.low < 0.1


def test_planted_layers_are_as_described():
    made = self_test.make_layers(3)
    norms = np.sqrt(np.square(made.features.astype(float)).sum(2)).mean(0)
    assert norms.max() / norms.min() == pytest.approx(100, rel=0.2)
    units = made.features[:, :, : self_test.UNITS].astype(float)
    speaker = np.repeat(np.arange(self_test.SPEAKERS), self_test.UTTERANCES)
    means = np.stack([units[speaker == s].mean(0) for s in range(self_test.SPEAKERS)])
    within = units - means[speaker]
    assert (means.var(0) > within.var(0)).mean() > 0.8  # speakers differ more than their utterances
    neighbours = [
        np.corrcoef(within[:, layer, unit], within[:, layer + 1, unit])[0, 1]
        for layer in range(12) for unit in range(self_test.UNITS)
    ]  # fmt: skip
    assert np.mean(neighbours) == pytest.approx(self_test.KEPT, abs=0.05)
    for k, name in enumerate(DIMENSIONS):
        first = self_test.PLANTED[name][0]
        before = [_explained(within[:, layer], made.labels[:, k]) for layer in range(first)]
        assert max(before) < 0.1
        assert _explained(within[:, first], made.labels[:, k]) > (0.15 if name == "dominance" else 0.4)


def test_table_counts_what_was_found(results):
    text = self_test.table(results)
    assert "planted: arousal at 2, valence at 10, dominance at 4 to 6" in text
    assert "permuted labels: the interval contains zero in 1/1" in text
    for measure in MEASURES:
        assert f"{measure:27}       1/1" in text


def test_misses_name_what_is_further_than_one_layer(results):
    moved = self_test.SelfTest({"m": (4, 9, 7)}, results[0].control, results[0].doubts)
    assert moved.misses("m") == ["arousal"]


def test_command_line_wants_one_seed_at_least(capsys):
    assert main(["layers", "--self-test", "--seeds", "0"]) == 2
    assert "--seeds 0: at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_over_twenty_seeds():
    results = [self_test.run(seed) for seed in range(20)]
    for measure in MEASURES:
        assert sum(not one.misses(measure) for one in results) >= 19, measure
    assert sum(one.control.low <= 0 <= one.control.high for one in results) >= 18
    misled = [one for one in results if one.misses("learned weights, as is")]
    assert misled, "the learned weights were never wrong, so nothing shows that a failure is flagged"
    assert all(map(self_test.is_flagged, misled))


def _explained(x, y):
    design = np.column_stack([np.ones(len(x)), x])
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - residual.var() / y.var()
