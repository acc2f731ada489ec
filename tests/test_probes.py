"""Ridge probes against scikit-learn on the same folds, against closed forms, and against leakage."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.preprocessing import StandardScaler

from multimodal_ser.analysis import controls, probes
from multimodal_ser.analysis.relevance import scored
from multimodal_ser.errors import InputError
from multimodal_ser.metrics import Resampling, ccc, pearson, pearson_of

GENERATOR = np.random.default_rng(5)
ROWS, LAYERS, WIDTH = 240, 3, 20
SPEAKERS = [f"s{number}" for number in GENERATOR.integers(0, 16, ROWS)]
FEATURES = GENERATOR.standard_normal((ROWS, LAYERS, WIDTH)) * [[[1.0], [30.0], [0.01]]] + 3
TRUE = GENERATOR.standard_normal((WIDTH, 2))
LABELS = 0.5 + 0.1 * ((FEATURES[:, 0] - 3) @ TRUE) + GENERATOR.normal(0, 0.4, (ROWS, 2))
FOLDS = probes.speaker_folds(SPEAKERS)
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def nested_scikit(x, y, folds):
    """The same nested scheme, spelled out: tune on the inner folds, fit again, predict the outer fold."""
    x = StandardScaler().fit_transform(x)
    predictions = np.full(len(y), np.nan)
    chosen = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        errors = []
        for penalty in PENALTIES:
            error = 0.0
            for inner_train, inner_test in LeaveOneGroupOut().split(x[train], groups=folds[train]):
                model = Ridge(alpha=penalty * len(inner_train)).fit(
                    x[train][inner_train], y[train][inner_train]
                )
                error += np.square(model.predict(x[train][inner_test]) - y[train][inner_test]).sum()
            errors.append(error)
        chosen.append(PENALTIES[int(np.argmin(errors))])
        predictions[test] = Ridge(alpha=chosen[-1] * train.sum()).fit(x[train], y[train]).predict(x[test])
    return predictions, chosen


def test_every_layer_and_target_equals_scikit_learn_with_nested_folds():
    found = probes.probe_layers(FEATURES, LABELS, FOLDS, PENALTIES)
    for layer in range(LAYERS):
        for target in range(2):
            expected, chosen = nested_scikit(FEATURES[:, layer], LABELS[:, target], FOLDS)
            np.testing.assert_allclose(found[layer].predictions[:, target], expected, atol=1e-6)
            assert found[layer].penalties[:, target].tolist() == chosen


def test_more_features_than_rows_equals_scikit_learn_too():
    x = GENERATOR.standard_normal((60, 90))
    y = x[:, :1] + GENERATOR.normal(0, 0.5, (60, 1))
    folds = np.arange(60) % 5
    expected, _ = nested_scikit(x, y[:, 0], folds)
    np.testing.assert_allclose(probes.probe(x, y, folds, PENALTIES).predictions[:, 0], expected, atol=1e-6)


def test_missing_labels_of_one_target_leave_the_other_alone():
    labels = LABELS.copy()
    labels[::3, 1] = np.nan
    whole, holed = (probes.probe(FEATURES[:, 0], y, FOLDS, PENALTIES) for y in (LABELS, labels))
    np.testing.assert_allclose(holed.predictions[:, 0], whole.predictions[:, 0], atol=1e-10)
    assert np.isnan(holed.predictions[::3, 1]).all()
    kept = np.flatnonzero(~np.isnan(labels[:, 1]))
    assert np.isfinite(holed.predictions[kept, 1]).all()
    scale = StandardScaler().fit(FEATURES[:, 0])  # features know no labels, so they are scaled over all rows
    x = scale.transform(FEATURES[:, 0])
    test, train = kept[FOLDS[kept] == 0], kept[FOLDS[kept] != 0]
    alpha = holed.penalties[0, 1] * len(train)
    expected = Ridge(alpha=alpha).fit(x[train], labels[train, 1]).predict(x[test])
    np.testing.assert_allclose(holed.predictions[test, 1], expected, atol=1e-6)


def test_scaling_a_layer_changes_no_prediction():
    one = probes.probe(FEATURES[:, 0], LABELS, FOLDS)
    other = probes.probe(FEATURES[:, 0] * 100 - 7, LABELS, FOLDS)
    np.testing.assert_allclose(one.predictions, other.predictions, atol=1e-9)


def test_half_precision_memory_map_gives_the_scores_of_the_array(tmp_path):
    stored = np.memmap(tmp_path / "layers.f16", dtype=np.float16, mode="w+", shape=FEATURES.shape)
    stored[:] = FEATURES
    mapped = np.memmap(tmp_path / "layers.f16", dtype=np.float16, mode="r", shape=FEATURES.shape)
    found, wide = (
        probes.probe_layers(x, LABELS, FOLDS) for x in (mapped, FEATURES.astype(np.float16).astype(float))
    )
    for one, other in zip(found, wide, strict=True):
        np.testing.assert_allclose(one.predictions, other.predictions, atol=1e-4)


def test_no_speaker_is_in_two_folds_and_folds_are_even():
    folds_of = {}
    for speaker, fold in zip(SPEAKERS, FOLDS, strict=True):
        assert folds_of.setdefault(speaker, fold) == fold
    assert np.ptp(np.bincount(FOLDS)) <= max(SPEAKERS.count(s) for s in SPEAKERS)
    assert set(FOLDS) == set(range(probes.FOLDS))


def test_scores_are_the_metrics_of_intercept_free_predictions():
    found = probes.probe_layers(FEATURES, LABELS, FOLDS, PENALTIES)
    resampling = Resampling(SPEAKERS, resamples=200)
    for metric, metric_of in ((ccc, None), (pearson, pearson_of)):
        relevance = scored(found, LABELS, resampling, *([metric_of] if metric_of else []))
        level = LABELS[:, 1].mean()
        free = found[0].predictions[:, 1] - found[0].intercepts[:, 1] + level
        assert relevance.values[0, 1] == pytest.approx(metric(free, LABELS[:, 1]), abs=1e-9)
        interval = relevance.interval(0, 1)
        assert interval.low < interval.value < interval.high


def test_a_probe_of_nothing_scores_nothing_though_the_means_of_the_folds_pull_it_below():
    noise = GENERATOR.standard_normal((400, 1, 3))
    labels = GENERATOR.standard_normal((400, 200))
    speakers = [str(n // 10) for n in range(400)]
    (found,) = probes.probe_layers(noise, labels, probes.speaker_folds(speakers))
    plain = np.mean([ccc(found.predictions[:, k], labels[:, k]) for k in range(200)])
    ours = scored([found], labels, Resampling(speakers, resamples=10)).values.mean()
    assert plain < -0.004  # what the intercepts alone do, against a standard error of about 0.0005
    assert abs(ours) < 0.002


@pytest.mark.parametrize("within", [False, True])
def test_permuted_labels_are_the_same_labels_of_other_utterances(within):
    shuffled = controls.permuted(LABELS, SPEAKERS, within, copies=3)
    owners = np.array(SPEAKERS)
    for copy in range(3):
        assert not np.array_equal(shuffled[:, copy], LABELS)
        for speaker in set(SPEAKERS) if within else [None]:
            rows = owners == speaker if speaker else np.ones(ROWS, bool)
            ours, theirs = shuffled[rows, copy], LABELS[rows]
            np.testing.assert_array_equal(ours[ours[:, 0].argsort()], theirs[theirs[:, 0].argsort()])


def test_what_is_known_from_the_speaker_survives_within_and_dies_across():
    speaker = np.repeat(np.arange(30), 12)
    habit = GENERATOR.standard_normal(30)[speaker]
    features = (habit[:, None] + 0.3 * GENERATOR.standard_normal((360, 4)))[:, None]
    labels = habit[:, None] + 0.3 * GENERATOR.standard_normal((360, 1))
    names = [str(s) for s in speaker]
    folds, resampling = probes.speaker_folds(names), Resampling(names, resamples=200)
    within = controls.permuted_control(features, labels, names, folds, resampling, within=True, copies=5)
    across = controls.permuted_control(features, labels, names, folds, resampling, copies=5)
    assert within.values[0, 0] > 0.8
    assert across.interval(0, 0).low <= 0 <= across.interval(0, 0).high
    assert abs(across.values[0, 0]) < 0.1


@pytest.mark.parametrize("sizes", [(100, 100, 100), (200, 75, 25)])
def test_class_probe_equals_scikit_learns_balanced_ridge_classifier(sizes):
    target = np.repeat(np.arange(3), sizes)
    x = GENERATOR.standard_normal((300, 6)) + 0.8 * np.eye(3)[target] @ GENERATOR.standard_normal((3, 6))
    folds = np.arange(300) % 5
    said = controls.classify(x, target, folds, [0.1])
    theirs = cross_val_predict(
        RidgeClassifier(alpha=0.1 * 240, class_weight="balanced"), StandardScaler().fit_transform(x), target,
        groups=folds, cv=LeaveOneGroupOut(),
    )  # fmt: skip
    assert (said == theirs).mean() > 0.99


def test_rare_classes_are_not_sacrificed():
    target = np.repeat([0, 1], [380, 20])
    order = GENERATOR.permutation(400)
    x = GENERATOR.standard_normal((400, 2)) + 2.0 * np.eye(2)[target]
    found = controls.class_probe(
        x[order][:, None], target[order].astype(str).tolist(), np.arange(400) % 5, Resampling([None] * 400)
    )
    # Two Gaussians whose means are 2 sqrt(2) apart: balanced Bayes accuracy is Phi(sqrt(2)) = 0.921.
    assert found.values[0, 0] == pytest.approx(0.921, abs=0.06)
    assert found.interval(0, 0).low < found.values[0, 0] < found.interval(0, 0).high


def test_speakers_are_told_apart_and_duration_is_read():
    speaker = np.repeat(np.arange(6), 20)
    voice = GENERATOR.standard_normal((6, 5))[speaker]
    seconds = np.exp(GENERATOR.normal(1, 0.5, 120))
    sure = np.concatenate([voice, np.log(seconds)[:, None]], axis=1) + 0.05 * GENERATOR.standard_normal(
        (120, 6)
    )
    blind = GENERATOR.standard_normal((120, 6))
    features = np.stack([sure, blind], axis=1)
    names = [str(s) for s in speaker]
    told = controls.speaker_probe(features, names).values[:, 0]
    assert told[0] > 0.95
    assert told[1] == pytest.approx(1 / 6, abs=0.12)
    folds, resampling = probes.speaker_folds(names), Resampling(names, resamples=50)
    read = controls.duration_probe(features, seconds, folds, resampling).values[:, 0]
    assert read[0] > 0.95
    assert abs(read[1]) < 0.3


def test_too_few_speakers_are_named():
    with pytest.raises(InputError, match=r"1 speaker\(s\) among 12 utterances: too few for 5 folds"):
        probes.speaker_folds(["a"] * 12)


def test_nan_features_name_the_layer_and_the_cause():
    broken = FEATURES.copy()
    broken[7, 1, 3] = np.nan
    with pytest.raises(InputError, match=r"layer 1: 1 of 240 rows hold NaN or infinity.*without any audio"):
        probes.probe_layers(broken, LABELS, FOLDS)


def test_one_class_is_refused():
    with pytest.raises(InputError, match="needs two classes or more; received only female"):
        controls.gender_probe(FEATURES, ["female"] * ROWS, FOLDS, Resampling(SPEAKERS))
