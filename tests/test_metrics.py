"""Metrics against NumPy, scikit-learn, closed forms and simulated truth."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from multimodal_ser import metrics

GENERATOR = np.random.default_rng(3)
LABELS = GENERATOR.uniform(1, 7, 300)
PREDICTIONS = 2 + 0.5 * LABELS + GENERATOR.normal(0, 0.5, 300)


def test_ccc_equals_lins_formula_and_correlation_times_bias():
    (vx, cxy), (_, vy) = np.cov(PREDICTIONS, LABELS, bias=True)
    shift = PREDICTIONS.mean() - LABELS.mean()
    assert metrics.ccc(PREDICTIONS, LABELS) == pytest.approx(2 * cxy / (vx + vy + shift**2), abs=1e-12)
    # Lin's decomposition: correlation times a bias correction factor.
    u = shift / (vx * vy) ** 0.25
    v = math.sqrt(vx / vy)
    correction = 2 / (v + 1 / v + u**2)
    expected = metrics.pearson(PREDICTIONS, LABELS) * correction
    assert metrics.ccc(PREDICTIONS, LABELS) == pytest.approx(expected, abs=1e-12)


def test_pearson_and_errors_equal_numpy():
    assert metrics.pearson(PREDICTIONS, LABELS) == pytest.approx(np.corrcoef(PREDICTIONS, LABELS)[0, 1])
    assert metrics.rmse(PREDICTIONS, LABELS) == pytest.approx(np.sqrt(np.mean((PREDICTIONS - LABELS) ** 2)))
    assert metrics.mae(PREDICTIONS, LABELS) == pytest.approx(np.mean(np.abs(PREDICTIONS - LABELS)))


def test_large_offsets_lose_no_digits():
    shifted = metrics.ccc(PREDICTIONS + 1e6, LABELS + 1e6)
    assert shifted == pytest.approx(metrics.ccc(PREDICTIONS, LABELS), abs=1e-9)


@pytest.mark.parametrize("metric", [metrics.ccc, metrics.pearson, metrics.rmse, metrics.mae])
def test_nan_stays_nan(metric):
    with_nan = PREDICTIONS.copy()
    with_nan[5] = math.nan
    assert math.isnan(metric(with_nan, LABELS))
    assert math.isnan(metric([], []))


def test_no_spread_is_undefined_not_zero():
    assert math.isnan(metrics.ccc([0.5, 0.5], [0.5, 0.5]))
    assert math.isnan(metrics.pearson([0.5, 0.5], [0.1, 0.9]))
    assert metrics.ccc([0.5, 0.5], [0.1, 0.9]) == 0


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"received shapes \(2,\), \(3,\)"):
        metrics.ccc([1, 2], [1, 2, 3])


def test_class_metrics_equal_scikit_learn():
    classes = ["anger", "fear", "neutral", "sadness"]
    labels = GENERATOR.choice(classes[:3], 200).tolist()
    predicted = [GENERATOR.choice(classes) if GENERATOR.random() < 0.5 else label for label in labels]
    table = metrics.confusion(predicted, labels, classes)
    assert metrics.weighted_accuracy(table) == pytest.approx(
        sklearn_metrics.accuracy_score(labels, predicted)
    )
    recalls = sklearn_metrics.recall_score(labels, predicted, labels=classes[:3], average="macro")
    assert metrics.unweighted_accuracy(table) == pytest.approx(recalls)
    f1 = sklearn_metrics.f1_score(labels, predicted, average="weighted")
    assert metrics.weighted_f1(table) == pytest.approx(f1)


def test_unknown_class_is_named():
    with pytest.raises(ValueError, match="class 'joy' is not among anger"):
        metrics.confusion(["joy"], ["anger"], ["anger"])


def test_bootstrap_equals_resampling_rows_by_hand():
    speakers = [str(i // 30) for i in range(300)]
    interval = metrics.bootstrap(metrics.ccc_of, PREDICTIONS, LABELS, speakers, seed=5, resamples=200)
    counts = np.random.default_rng(5).multinomial(10, np.full(10, 0.1), size=200)
    draws = []
    for row in counts:
        chosen = np.concatenate([np.arange(s * 30, s * 30 + 30) for s in range(10) for _ in range(row[s])])
        draws.append(metrics.ccc(PREDICTIONS[chosen], LABELS[chosen]))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=1e-9)
    assert interval.value == pytest.approx(metrics.ccc(PREDICTIONS, LABELS), abs=1e-12)


def test_speaker_bootstrap_is_wider_where_speakers_differ():
    generator = np.random.default_rng(0)
    speakers = np.repeat(np.arange(12), 25)
    labels = generator.uniform(0, 1, 300)
    predictions = labels + np.repeat(generator.normal(0, 0.3, 12), 25) + generator.normal(0, 0.05, 300)
    by_speaker = metrics.bootstrap(metrics.ccc_of, predictions, labels, [str(s) for s in speakers])
    by_utterance = metrics.bootstrap(metrics.ccc_of, predictions, labels, [None] * 300)
    assert by_speaker.high - by_speaker.low > 1.5 * (by_utterance.high - by_utterance.low)


def test_one_speaker_has_no_interval():
    interval = metrics.bootstrap(metrics.ccc_of, PREDICTIONS, LABELS, ["a"] * 300)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_paired_difference_of_a_prediction_with_itself_is_exactly_zero():
    speakers = [str(i // 30) for i in range(300)]
    same = metrics.bootstrap_difference(metrics.ccc_of, PREDICTIONS, PREDICTIONS, LABELS, speakers)
    assert same == metrics.Interval(0, 0, 0)


def test_conformal_interval_covers_what_it_promises():
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        radius = metrics.conformal_radius(generator.standard_t(3, 99), 0.9)
        covered.append(np.mean(np.abs(generator.standard_t(3, 200)) <= radius))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)


def test_conformal_rank_in_closed_form():
    # n = 9, coverage 0.8: the ceil(8.0) = 8th smallest; coverage 0.95 would need ten residuals.
    assert metrics.conformal_radius(range(1, 10), 0.8) == 8
    assert metrics.conformal_radius(range(1, 10), 0.95) == math.inf
    with pytest.raises(ValueError, match="between 0 and 1, received 95"):
        metrics.conformal_radius([1.0], 95)


def test_a_resample_drawn_in_pieces_is_the_same_resample(monkeypatch):
    speakers = [str(i // 30) for i in range(300)]
    rows = GENERATOR.normal(size=(300, 2, 3))
    whole = metrics.Resampling(speakers, seed=5, resamples=101).draws(rows)
    monkeypatch.setattr(metrics, "_CELLS", 70)  # ten speakers: seven resamples at a time
    in_pieces = metrics.Resampling(speakers, seed=5, resamples=101).draws(rows)
    assert whole.shape == (101, 2, 3)
    np.testing.assert_allclose(in_pieces, whole, atol=1e-12)


def test_moments_of_rows_add_up_to_moments_and_leave_out_what_is_not_labelled():
    labels = LABELS.copy()
    labels[::3] = math.nan
    kept = ~np.isnan(labels)
    rows = metrics.moment_rows(PREDICTIONS, labels, origin=2.0)
    expected = metrics.moments(PREDICTIONS[kept] - 2, labels[kept] - 2)
    np.testing.assert_allclose(rows.sum(0), expected)
    assert metrics.ccc_of(rows.sum(0)) == pytest.approx(metrics.ccc(PREDICTIONS[kept], labels[kept]))


def test_a_resampling_needs_one_speaker_per_row():
    with pytest.raises(ValueError, match="2 speakers for 3 predictions"):
        metrics.Resampling(["a", "b"]).draws(np.zeros((3, 1)))
