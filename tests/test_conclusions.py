"""Rules against made-up curves with known answers, and against SciPy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from multimodal_ser.analysis import conclusions
from multimodal_ser.analysis.conclusions import NOT_SUPPORTED, SUPPORTED, UNDECIDED, Verdict
from multimodal_ser.analysis.learned_weights import LearnedWeights, doubts
from multimodal_ser.analysis.relevance import Relevance

NAMES = ("arousal", "valence", "dominance")
LAYERS, DRAWS = 9, 400
DEPTH = np.arange(LAYERS)


def curve(*peaks, height=0.5, noise=0.02, wander=0.0, seed=0):
    """Bell curves around layers; in the draws each is `wander` layers off."""
    generator = np.random.default_rng(seed)

    def bells(shifts):
        bell = np.exp(-0.5 * ((DEPTH[:, None] - np.array(peaks) - shifts) / 1.5) ** 2)
        return height * bell

    draws = [
        bells(wander * generator.standard_normal(len(peaks)))
        + noise * generator.standard_normal((LAYERS, len(peaks)))
        for _ in range(DRAWS)
    ]
    return Relevance(bells(np.zeros(len(peaks))), np.array(draws))


CHANCE = curve(4, 4, 4, height=0.0, noise=0.02, seed=1)
YES, NO = Verdict("a claim", SUPPORTED, ()), Verdict("valence can be read", NOT_SUPPORTED, ())


def test_centre_of_mass_of_one_layer_is_its_depth_and_a_level_changes_nothing():
    scores = np.zeros((5, 2))
    scores[1, 0] = scores[4, 1] = 0.3
    np.testing.assert_allclose(conclusions.centre_of_mass(scores), [0.25, 1.0])
    np.testing.assert_allclose(conclusions.centre_of_mass(scores + 0.4), [0.25, 1.0])


def test_centre_of_mass_is_the_weighted_mean_depth():
    scores = np.array([0.1, 0.2, 0.5, 0.4])[:, None]
    expected = np.average(np.arange(4) / 3, weights=scores[:, 0] - 0.1)
    assert conclusions.centre_of_mass(scores)[0] == pytest.approx(expected)


def test_a_flat_curve_has_no_centre():
    assert np.isnan(conclusions.centre_of_mass(np.full((4, 1), 0.3))).all()
    assert np.isnan(conclusions.centre_of_mass(np.full((1, 1), 0.3))).all()


def test_place_covers_the_planted_layer():
    found = conclusions.place(curve(2, 6, 4, wander=0.5), 1)
    assert found.best_layer == 6
    assert found.best_depth.low <= 6 / 8 <= found.best_depth.high
    assert found.best_depth.low < found.best_depth.high
    assert found.centre.low < found.centre.value < found.centre.high


def test_probability_of_deeper_is_one_half_for_the_same_place_and_one_for_far_apart():
    assert conclusions.share_deeper(curve(4, 4, 4), 1, 0) == pytest.approx(0.5, abs=0.1)
    assert conclusions.share_deeper(curve(1, 7, 4), 1, 0) == 1
    assert conclusions.share_deeper(curve(7, 1, 4), 1, 0) == 0


def test_a_dimension_is_carried_only_beyond_permuted_labels_and_the_random_encoder():
    strong, weak = curve(2, 6, 4), curve(2, 6, 4, height=0.02)
    assert conclusions.carried(0, "arousal", strong, CHANCE).verdict == SUPPORTED
    assert conclusions.carried(0, "arousal", weak, CHANCE).verdict == NOT_SUPPORTED
    as_good = curve(3, 3, 3, height=0.5, seed=2)
    verdict = conclusions.carried(0, "arousal", strong, CHANCE, random=[as_good] * 3)
    assert verdict.verdict == NOT_SUPPORTED
    assert "beyond the best layers of 3 randomly initialised encoders" in verdict.reasons[1]
    assert conclusions.carried(0, "arousal", strong, CHANCE, random=[weak] * 3).verdict == SUPPORTED


def test_an_unknown_interval_supports_nothing():
    strong = curve(2, 6, 4)
    unknown = Relevance(strong.values, np.full_like(strong.draws, np.nan))
    assert conclusions.carried(0, "arousal", unknown, CHANCE).verdict == NOT_SUPPORTED


DEEPER, OPEN, SHALLOWER = curve(1, 7, 4), curve(4, 4, 4, wander=2.0), curve(7, 1, 4)


@pytest.mark.parametrize(
    ("measures", "carriers", "verdict"),
    [
        ({"probes": DEEPER, "similarity": DEEPER}, [YES, YES], SUPPORTED),
        ({"probes": DEEPER, "similarity": DEEPER, "gain": OPEN}, [YES, YES], SUPPORTED),
        ({"probes": DEEPER, "similarity": OPEN}, [YES, YES], UNDECIDED),
        ({"probes": DEEPER, "similarity": DEEPER, "gain": SHALLOWER}, [YES, YES], UNDECIDED),
        ({"probes": OPEN, "similarity": OPEN}, [YES, YES], UNDECIDED),
        ({"probes": OPEN, "similarity": SHALLOWER}, [YES, YES], NOT_SUPPORTED),
        ({"probes": DEEPER, "similarity": DEEPER}, [YES, NO], NOT_SUPPORTED),
    ],
)
def test_order_follows_the_stated_rules(measures, carriers, verdict):
    found = conclusions.order(measures, NAMES, carriers)
    assert found.verdict == verdict
    assert found.claim == "valence lies deeper than arousal"
    assert len(found.reasons) == len(measures) + carriers.count(NO)


def test_rank_correlation_equals_scipy_also_with_ties():
    generator = np.random.default_rng(4)
    x, y = generator.integers(0, 6, (2, 40))
    assert conclusions.rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(conclusions.rank_correlation(np.ones(5), np.arange(5)))


def test_measures_that_name_other_layers_are_flagged_and_like_ones_are_not():
    found = conclusions.agreements({"a": DEEPER, "b": curve(1, 7, 4, height=0.2), "c": SHALLOWER}, NAMES)
    flags = {(one.measures, one.dimension): one.disagree for one in found}
    assert len(flags) == 9
    assert not any(flags[("a", "b"), dimension] for dimension in NAMES)
    assert flags[("a", "c"), "arousal"]
    assert flags[("a", "c"), "valence"]
    assert not flags[("a", "c"), "dominance"]


def test_learned_weights_that_wander_are_even_or_contradict_the_probes_are_doubted():
    probed = np.exp(-0.5 * ((DEPTH - 2) / 1.5) ** 2)[:, None]
    right = LearnedWeights(np.stack([probed / probed.sum()] * 5))
    even = LearnedWeights(np.full((5, LAYERS, 1), 1 / LAYERS))
    wandering = LearnedWeights(np.eye(LAYERS)[[0, 2, 4, 6, 8]][:, :, None])
    wrong = LearnedWeights(right.weights[:, ::-1])
    assert doubts(right, right, probed) == [[]]
    assert any("of the entropy of equal weights" in reason for reason in doubts(even, right, probed)[0])
    assert any(
        "seeds put the most weight on layers 0 to 8" in reason
        for reason in doubts(wandering, right, probed)[0]
    )
    reasons = doubts(wrong, right, probed)[0]
    assert any("most weight on layer 6, but layer 2 can be read best" in reason for reason in reasons)
    assert "normalising the layers moves the most weight" in reasons


def test_entropy_is_one_for_equal_weights_and_zero_for_one_layer():
    assert LearnedWeights(np.full((1, 4, 1), 0.25)).entropy[0, 0] == pytest.approx(1)
    assert LearnedWeights(np.eye(4)[[2]][:, :, None]).entropy[0, 0] == pytest.approx(0, abs=1e-9)
    assert LearnedWeights(np.eye(4)[[2]][:, :, None]).centre[0, 0] == pytest.approx(2 / 3)
