"""The difference to random encoders: its interval in closed form, how often luck passes it, and what does."""

import numpy as np
import pytest

from multimodal_ser.analysis import random_control
from multimodal_ser.analysis.random_control import beyond, mean_of, seeds
from multimodal_ser.analysis.relevance import Relevance
from multimodal_ser.errors import InputError

DRAWS = 100


def encoder(best, generator=None, people=0.0, shared=None):
    """Three layers, the second best; in the draws all move with the speakers and a little by themselves."""
    values = np.array([0.1, best, 0.2])[:, None]
    shared = np.zeros(DRAWS) if shared is None else shared
    own = 0 if generator is None else people * generator.standard_normal((DRAWS, 3, 1))
    return Relevance(values, values + shared[:, None, None] + own)


def test_without_any_spread_over_speakers_it_is_the_prediction_interval_of_a_normal_sample():
    found = beyond(encoder(0.6), [encoder(best) for best in (0.4, 0.5, 0.45, 0.42, 0.48)])
    mean, spread = 0.45, np.sqrt(np.mean(np.square([0.05, 0.05, 0, 0.03, 0.03])) * 5 / 4)
    assert found.spread == pytest.approx(spread)
    assert found.interval.value == pytest.approx(0.6 - mean)
    half = 2.776445 * spread * np.sqrt(1 + 1 / 5)  # Student's t, 4 degrees of freedom, from a printed table
    assert found.interval.low == pytest.approx(0.15 - half, abs=1e-6)
    assert found.interval.high == pytest.approx(0.15 + half, abs=1e-6)


def test_without_any_spread_over_encoders_it_is_the_interval_over_speakers():
    generator = np.random.default_rng(0)
    ours = encoder(0.6, generator, 0.02)
    found = beyond(ours, [encoder(0.45)] * 4).interval
    best = ours.draws[:, :, 0].max(1) - 0.45
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(best, [0.025, 0.975])))


def test_what_moves_all_encoders_alike_widens_nothing():
    shared = np.random.default_rng(1).standard_normal(DRAWS)
    found = beyond(encoder(0.6, shared=shared), [encoder(0.45, shared=shared)] * 3).interval
    assert (found.low, found.high) == pytest.approx((0.15, 0.15))


@pytest.mark.parametrize("count", [3, 5])
def test_one_more_random_encoder_passes_as_rarely_as_the_interval_says(count):
    """Random encoders differ ten times as much as the speakers say; one control is beaten often."""
    generator = np.random.default_rng(count)
    passed = single = 0
    for _ in range(1000):
        ours, *others = (encoder(0.5 + 0.05 * z, generator, 0.005)
                         for z in generator.standard_normal(1 + count))  # fmt: skip
        passed += beyond(ours, others).interval.low > 0
        single += ours.values.max() - others[0].values.max() > 2 * 0.005 * np.sqrt(2)
    assert passed <= 40  # 25 expected of 1000; more than 40 once in 500 seeds
    assert single > 350


def test_an_encoder_that_carries_more_than_luck_passes():
    generator = np.random.default_rng(7)
    others = [encoder(0.3 + 0.02 * z, generator, 0.02) for z in generator.standard_normal(5)]
    assert beyond(encoder(0.5, generator, 0.02), others).interval.low > 0


def test_the_curve_is_the_mean_and_its_draws_hold_the_spread_of_the_encoders():
    found = mean_of([encoder(0.3), encoder(0.5), encoder(0.7)])
    assert found.values[:, 0] == pytest.approx([0.1, 0.5, 0.2])
    interval = found.interval(1, 0)
    assert (interval.low, interval.high) == pytest.approx((0.3, 0.7))


def test_a_layer_that_is_undefined_is_passed_over():
    broken = Relevance(np.array([[np.nan], [0.4]]), np.full((DRAWS, 2, 1), 0.4))
    assert beyond(broken, [encoder(0.3)] * 3).interval.value == pytest.approx(0.1)


def test_reports_of_two_seeds_share_no_random_encoder_and_few_are_drawn_where_they_are_dear():
    assert not set(seeds(5, 100, 0)) & set(seeds(5, 100, 1))
    assert len(seeds(None, random_control.CHEAP, 0)) == 5
    assert len(seeds(None, random_control.CHEAP + 1, 0)) == 3
    assert list(seeds(3, 100, 4)) == list(seeds(5, 100, 4))[:3]


def test_two_random_encoders_are_too_few():
    with pytest.raises(InputError, match=r"--random-encoders 2: at least 3; how far random encoders differ"):
        seeds(2, 100, 0)
