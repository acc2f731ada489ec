"""CCA and CKA against closed forms and against implementations over whole kernels, and what layers add."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import ortho_group

from multimodal_ser.analysis import similarity
from multimodal_ser.analysis.incremental import explained_variance_of, increments, reduced
from multimodal_ser.analysis.probes import probe, speaker_folds
from multimodal_ser.analysis.relevance import scored
from multimodal_ser.metrics import Resampling, moments

GENERATOR = np.random.default_rng(11)
X = GENERATOR.standard_normal((300, 8)) * np.linspace(1, 3, 8)
Y = X[:, :3] @ GENERATOR.standard_normal((3, 5)) + 0.5 * GENERATOR.standard_normal((300, 5))
ROTATION = ortho_group.rvs(8, random_state=1)


def kernel_cka(x, y):
    """Debiased CKA from N x N kernels, as Song et al. write it."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        one = np.ones(n)
        last = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
        return (np.trace(k @ m) + last) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_cka_from_sums_equals_cka_from_kernels():
    assert similarity.debiased_cka(X + 5, Y - 2) == pytest.approx(kernel_cka(X + 5, Y - 2), abs=1e-10)


def test_cka_of_identical_rotated_and_scaled_is_one():
    for other in (X, X @ ROTATION, 40 * X + 3):
        assert similarity.debiased_cka(X, other) == pytest.approx(1, abs=1e-12)


def test_debiased_cka_of_unrelated_wide_data_is_zero_where_the_plain_one_is_not():
    pairs = [GENERATOR.standard_normal((2, 60, 200)) for _ in range(20)]
    ours = [similarity.debiased_cka(a, b) for a, b in pairs]

    def plain(a, b):
        a, b = a - a.mean(0), b - b.mean(0)
        return np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))

    assert np.mean([plain(a, b) for a, b in pairs]) > 0.5
    assert abs(np.mean(ours)) < 0.02


def test_every_half_of_the_speakers_has_the_cka_of_its_own_rows():
    groups = np.arange(300) % 6
    halves = similarity._halves(6, 5)
    parts = [similarity._hsic(a, b, groups, halves) for a, b in ((X, Y), (X, X), (Y, Y))]
    found = similarity._cka(*parts)
    for draw, value in zip(halves, found, strict=True):
        rows = draw[groups] > 0
        assert value == pytest.approx(kernel_cka(X[rows], Y[rows]), abs=1e-10)


def test_spread_over_halves_is_the_spread_over_samples():
    def sample():
        x = GENERATOR.standard_normal((240, 2))
        return x, x[:, :1] + GENERATOR.standard_normal((240, 1))

    truth = np.std([similarity.debiased_cka(*sample()) for _ in range(300)])
    spreads = []
    for _ in range(20):
        x, y = sample()
        spreads.append(similarity.cka_by_layer(x[:, None], [y], np.arange(240) % 24).draws.std())
    assert np.mean(spreads) == pytest.approx(truth, rel=0.25)


def test_cca_correlations_are_cosines_of_the_angles_between_subspaces():
    found = similarity.canonical(X, Y, components=8, shrinkage=0)
    angles = subspace_angles(X - X.mean(0), Y - Y.mean(0))
    np.testing.assert_allclose(np.sort(found.correlations), np.sort(np.cos(angles)), atol=1e-9)


def test_cca_equals_scikit_learn():
    from sklearn.cross_decomposition import CCA

    found = similarity.canonical(X, Y, components=8, shrinkage=0)
    theirs = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-12).fit(X, Y)
    u, v = theirs.transform(X, Y)
    expected = [np.corrcoef(u[:, k], v[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(found.correlations[:3], expected, atol=1e-4)


def test_projection_weighted_cca_of_identical_and_mixed_is_one():
    mixed = X @ GENERATOR.standard_normal((8, 8))
    assert similarity.projection_weighted_cca(X, X, 8) == pytest.approx(1, abs=1e-9)
    assert similarity.projection_weighted_cca(X, mixed, 8) == pytest.approx(1, abs=1e-9)


def test_projection_weights_are_those_of_morcos():
    found = similarity.canonical(X, Y, components=8, shrinkage=0)
    variates = (X - X.mean(0)) @ found.weights_x
    variates /= np.linalg.norm(variates, axis=0)
    alpha = np.array([sum(abs(v @ (X - X.mean(0))[:, j]) for j in range(8)) for v in variates.T])
    np.testing.assert_allclose(found.shares, alpha / alpha.sum(), atol=1e-12)


def test_one_target_gives_the_multiple_correlation():
    y = Y[:, :1]
    fit = np.column_stack([np.ones(300), X])
    residual = y - fit @ np.linalg.lstsq(fit, y, rcond=None)[0]
    multiple = np.sqrt(1 - residual.var() / y.var())
    assert similarity.projection_weighted_cca(X, y, 8) == pytest.approx(multiple, abs=1e-9)


def test_held_out_cca_of_unrelated_is_zero_where_the_fitted_one_is_not():
    x, y = GENERATOR.standard_normal((150, 14)), GENERATOR.standard_normal((150, 3))
    resampling = Resampling([str(n // 10) for n in range(150)], resamples=300)
    found = similarity.held_out_cca(x, [y], np.arange(150) % 5, resampling)
    interval = found.interval(0, 0)
    assert similarity.projection_weighted_cca(x, y, 14) > 0.2
    assert interval.low < 0 < interval.high


def test_similarity_names_the_layer_that_holds_the_target():
    layers = GENERATOR.standard_normal((300, 4, 6))
    target = GENERATOR.standard_normal((300, 2))
    layers[:, 2, :2] += 1.5 * target
    resampling = Resampling([str(n // 10) for n in range(300)], resamples=100)
    cca = similarity.cca_by_layer(layers, [target], np.arange(300) % 5, resampling)
    cka = similarity.cka_by_layer(layers, [target], similarity.speaker_groups(resampling))
    assert cca.values[:, 0].argmax() == 2
    assert cka.values[:, 0].argmax() == 2
    assert cka.interval(2, 0).low > cka.interval(0, 0).high


def test_nothing_that_varies_is_refused():
    with pytest.raises(ValueError, match="nothing varies"):
        similarity.projection_weighted_cca(X, np.ones((300, 1)))


def test_gain_is_the_explained_variance_that_a_layer_adds():
    """Two hidden halves of a label: layer 1 holds the first, layer 3 both; layer 2 only repeats layer 1."""
    halves = GENERATOR.standard_normal((600, 2))
    label = halves.sum(1, keepdims=True)
    noise = 0.05 * GENERATOR.standard_normal((600, 4, 3))
    layers = GENERATOR.standard_normal((600, 4, 3))
    layers[:, 1:, 0] = halves[:, [0]]
    layers[:, 3, 1] = halves[:, 1]
    speakers = [str(n // 20) for n in range(600)]
    folds, resampling = speaker_folds(speakers), Resampling(speakers, resamples=50)
    found = increments(reduced(layers + noise), label, folds, resampling)
    np.testing.assert_allclose(found.gain.values[:, 0], [0, 0.5, 0, 0.5], atol=0.06)
    np.testing.assert_allclose(found.left_out.values[:3, 0], 0, atol=0.01)
    assert found.left_out.values[3, 0] > 0.2


def test_truncation_at_the_top_equals_a_probe_of_all_layers_side_by_side():
    layers = GENERATOR.standard_normal((200, 3, 4))
    label = layers[:, 1, :1] + GENERATOR.standard_normal((200, 1))
    speakers = [str(n // 10) for n in range(200)]
    folds, resampling = speaker_folds(speakers), Resampling(speakers, resamples=20)
    components = reduced(layers)
    flat = components.reshape(200, -1)
    spread = flat.std(0)  # a probe standardises its features: undone, so that both see the same
    found = increments(components / components.std(0), label, folds, resampling)
    whole = scored([probe(flat / spread, label, folds)], label, resampling)
    np.testing.assert_allclose(found.truncation.values[-1], whole.values[0], atol=1e-9)


def test_explained_variance_is_its_formula():
    y = GENERATOR.standard_normal(50)
    p = 0.5 * y + GENERATOR.normal(0, 0.2, 50)
    expected = 1 - np.mean((y - p) ** 2) / np.var(y)
    assert explained_variance_of(moments(p, y)) == pytest.approx(expected)


def test_held_out_pairs_are_those_found_on_the_other_rows():
    folds = np.arange(300) % 4
    x = similarity.standardised(X)
    found = similarity._found_without_each_fold(x, [Y, Y[:, :1]], folds)
    for fold in range(4):
        for (ours, y), number in zip(
            ((found[fold][0], Y), (found[fold][1], Y[:, :1])), range(2), strict=True
        ):
            expected = similarity.canonical(x[folds != fold], y[folds != fold])
            np.testing.assert_allclose(
                ours.correlations, expected.correlations, atol=1e-9, err_msg=str(number)
            )
            np.testing.assert_allclose(ours.shares, expected.shares, atol=1e-9)
            np.testing.assert_allclose(ours.mean_y, expected.mean_y, atol=1e-12)
