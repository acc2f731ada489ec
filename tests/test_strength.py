"""Ranking of strengths against scipy and a planted order; the strength network: padding, losses, learning."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import spearmanr

from multimodal_ser.errors import InputError
from multimodal_ser.models.strength import Strength, StrengthConfig, StrengthNet, strength_losses
from multimodal_ser.objectives.intensity import LearnedStrength
from multimodal_ser.objectives.relative_attributes import fit_ranking, pairs, strength_targets, unit_scores

SMALL = StrengthConfig(bands=12, channels=(2, 4), recurrent=8, hidden=8, classes=2, dropout=0.0)


def test_the_ranking_is_the_minimum_that_scipy_finds():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 5))
    ordered, similar = random.integers(0, 60, (80, 2)), random.integers(0, 60, (40, 2))

    def objective(w):
        apart = (x[ordered[:, 0]] - x[ordered[:, 1]]) @ w
        alike = (x[similar[:, 0]] - x[similar[:, 1]]) @ w
        return w @ w / 2 + 0.7 * np.square(np.maximum(0, 1 - apart)).sum() + 0.7 * np.square(alike).sum()

    expected = minimize(objective, np.zeros(5), method="BFGS", options={"gtol": 1e-8}).x
    assert fit_ranking(x, ordered, similar, cost=0.7) == pytest.approx(expected, abs=1e-5)


def test_a_planted_strength_is_ranked_although_only_two_kinds_are_known():
    random = np.random.default_rng(1)
    strength = random.uniform(0, 1, 200)
    x = random.normal(size=(200, 6)) * 0.5
    x[:, 2] += 6 * strength
    emotional = strength > 0.5
    w = fit_ranking(x, *pairs(emotional, 500, random))
    assert spearmanr(x[emotional] @ w, strength[emotional]).statistic > 0.85


def test_ordered_pairs_put_the_emotional_one_first_and_similar_pairs_are_of_a_kind():
    emotional = np.arange(20) % 3 == 0
    ordered, similar = pairs(emotional, 50, np.random.default_rng(0))
    assert emotional[ordered[:, 0]].all()
    assert not emotional[ordered[:, 1]].any()
    assert (emotional[similar[:, 0]] == emotional[similar[:, 1]]).all()


def test_targets_are_strengths_from_0_to_1_with_neutral_speech_below():
    random = np.random.default_rng(2)
    emotions = ["neutral"] * 30 + ["anger"] * 30 + ["sadness"] * 30
    x = random.normal(size=(90, 4))
    x[30:60, 0] += 4
    x[60:, 1] += 4
    targets = strength_targets(x, emotions)
    assert targets.min() >= 0
    assert targets.max() <= 1
    assert targets[:30].mean() < min(targets[30:60].mean(), targets[60:].mean()) - 0.3
    assert unit_scores(np.ones(3)).tolist() == [0.5] * 3


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(InputError, match="4 emotional and 0 neutral utterances"):
        pairs(np.ones(4, dtype=bool), 5, np.random.default_rng(0))
    with pytest.raises(InputError, match="a ranking needs 'neutral' and an emotion"):
        strength_targets(np.ones((2, 2)), ["anger", "anger"])


def test_strength_of_a_clip_does_not_depend_on_its_padding_and_is_the_mean_of_its_frames():
    torch.manual_seed(0)
    network = StrengthNet(SMALL).eval()
    lengths = torch.tensor([16_000, 9_000])
    waves = torch.randn(2, 16_000) * 0.1 * (torch.arange(16_000) < lengths[:, None])
    with torch.no_grad():
        both, alone = network(waves, lengths), network(waves[1:, :9000], lengths[1:])
    frames = alone.frames.shape[1]
    assert torch.allclose(both.frames[1, :frames], alone.frames[0], atol=1e-5)
    assert torch.allclose(both.logits[1], alone.logits[0], atol=1e-4)
    assert both.utterance[1].item() == pytest.approx(alone.frames[0].mean().item(), rel=1e-5)
    curve = LearnedStrength(network)(waves[1, :9000].numpy())
    assert curve.values == pytest.approx(alone.frames[0].numpy(), abs=1e-6)
    assert curve.times[0] == pytest.approx(0.0125)


def test_losses_by_hand():
    mask = torch.tensor([[True, True], [True, False]])
    said = Strength(torch.tensor([[0.2, 0.6], [0.5, 0.0]]), torch.tensor([0.4, 0.5]), torch.zeros(2, 2), mask)
    losses = strength_losses(said, torch.tensor([1.0, 0.0]), torch.tensor([1, -1]))
    assert losses["utterance"].item() == pytest.approx((0.6 + 0.5) / 2)
    assert losses["frame"].item() == pytest.approx((0.8 + 0.4 + 0.5) / 3)
    assert losses["classes"].item() == pytest.approx(np.log(2))
    assert losses["loss"].item() == pytest.approx(0.55 + 1.7 / 3 + np.log(2))


def test_low_and_high_tones_are_told_apart_after_training():
    torch.manual_seed(0)
    network = StrengthNet(replace(SMALL, channels=(8,)))
    time = torch.arange(8000) / 16_000
    waves = torch.stack([torch.sin(2 * torch.pi * f * time) for f in (300, 350, 2500, 2600)])
    waves = waves * torch.linspace(0.1, 1, 8000) + 0.01 * torch.randn(4, 8000)
    features, mask = network.features(waves, torch.full((4,), 8000))
    targets, classes = torch.tensor([0.1, 0.1, 0.9, 0.9]), torch.tensor([0, 0, 1, 1])
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(80):
        optimiser.zero_grad()
        losses = strength_losses(network.forward_from_features(features, mask), targets, classes)
        losses["loss"].backward()
        optimiser.step()
    assert losses["utterance"].item() < 0.1
    assert losses["classes"].item() < 0.1
