"""Learned softmax weights over layers: the usual bar chart, kept as a diagnostic and marked as such.

A head reads `sum_l softmax(w)_l h_l`, and after training the weights are read as relevance (SUPERB). They
are not trustworthy: a layer with large activations needs little weight, neighbours that tell the same share
it in any way, and start, learning rate and early stopping decide the rest. Normalising the layers takes
away the first reason only. So they are learned for layers as they are and for normalised ones, from several
seeds, with their entropy, and `doubts` says what speaks against reading them.

Shapes: N utterances, L layers, F features, K dimensions; one softmax and one linear head for each
dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from multimodal_ser.analysis.conclusions import ALIKE, rank_correlation
from multimodal_ser.analysis.probes import Probed, standardised
from multimodal_ser.analysis.relevance import Relevance, scored
from multimodal_ser.metrics import Resampling

SEEDS = 5
STEPS = 300
LEARNING_RATE = 0.02
WEIGHT_DECAY = 1e-2
EVEN = 0.9  # share of the entropy of equal weights above which weights name no layer
APART = 2  # layers between two answers to the same question from which on they disagree


@dataclass(frozen=True)
class LearnedWeights:
    """Weights per seed, layer and dimension, (seeds, L, K); over layers they add up to 1."""

    weights: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Weights (L, K), the mean of the seeds."""
        return self.weights.mean(0)

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Entropy (seeds, K) as a share of that of equal weights."""
        p = np.clip(self.weights, 1e-12, 1)
        return -(p * np.log(p)).sum(1) / math.log(max(p.shape[1], 2))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centre of mass (seeds, K) on the relative depth axis."""
        depth = np.linspace(0, 1, self.weights.shape[1])
        return np.einsum("l,slk->sk", depth, self.weights)

    @property
    def best(self) -> NDArray[np.int64]:
        """The layer with most weight, (seeds, K)."""
        return self.weights.argmax(1)


def learn(
    features: ArrayLike, labels: NDArray[np.float64], normalised: bool, seeds: int = SEEDS, steps: int = STEPS
) -> LearnedWeights:
    """Train the mix and its heads on all rows of features (N, L, F) and labels (N, K) without NaN."""
    x = torch.from_numpy(_prepared(np.asarray(features), normalised))
    y = torch.from_numpy(((labels - labels.mean(0)) / np.maximum(labels.std(0), 1e-12)).astype(np.float32))
    weights, _ = _train(x, y, range(seeds), steps)
    return LearnedWeights(weights)


def left_out_of_mix(
    features: ArrayLike,
    labels: NDArray[np.float64],
    folds: NDArray[np.int64],
    resampling: Resampling,
    steps: int = STEPS // 2,
) -> Relevance:
    """CCC that a trained mix of normalised layers loses on unseen speakers without each of them, (L, K).

    Nothing is trained again: the others keep the ratios of their weights, and the head stays.
    """
    x = torch.from_numpy(_prepared(np.asarray(features), normalised=True))
    mean, spread = labels.mean(0), np.maximum(labels.std(0), 1e-12)
    y = torch.from_numpy(((labels - mean) / spread).astype(np.float32))
    whole, without = np.zeros(labels.shape), np.zeros((x.shape[1], *labels.shape))
    for fold in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == fold)
        (weights,), (heads,) = _train(x[folds != fold], y[folds != fold], [fold], steps)
        by_layer = torch.einsum("nlf,fk->nlk", x[held], heads).double().numpy() * weights
        whole[held] = by_layer.sum(1)
        for layer in range(x.shape[1]):
            left = np.maximum(1 - weights[layer], 1e-12)
            without[layer, held] = (by_layer.sum(1) - by_layer[:, layer]) / left
    rest = np.broadcast_to(mean, labels.shape), np.zeros((0, labels.shape[1]))
    first, *others = scored(
        [Probed(mean + spread * said, *rest) for said in (whole, *without)], labels, resampling
    ).by_layer()
    return Relevance(
        np.stack([first.values[0] - one.values[0] for one in others]),
        np.stack([first.draws[:, 0] - one.draws[:, 0] for one in others], axis=1),
    )


def doubts(raw: LearnedWeights, normalised: LearnedWeights, probed: NDArray[np.float64]) -> list[list[str]]:
    """For each dimension, what speaks against reading the weights; `probed` (L, K) are the probes' scores."""
    found = []
    for k in range(probed.shape[1]):
        reasons = []
        for name, one in (("layers as they are", raw), ("normalised layers", normalised)):
            best, entropy = one.best[:, k], float(one.entropy[:, k].mean())
            if np.ptp(best) >= APART:
                reasons.append(f"{name}: seeds put the most weight on layers {best.min()} to {best.max()}")
            if entropy > EVEN:
                reasons.append(f"{name}: {entropy:.0%} of the entropy of equal weights")
            correlation = rank_correlation(one.mean[:, k], probed[:, k])
            if not correlation >= ALIKE:
                reasons.append(
                    f"{name}: rank correlation {correlation:.2f} with what can be read from the layers"
                )
            if abs(int(one.mean[:, k].argmax()) - int(probed[:, k].argmax())) >= APART:
                top, other = int(one.mean[:, k].argmax()), int(probed[:, k].argmax())
                reasons.append(f"{name}: most weight on layer {top}, but layer {other} can be read best")
        if abs(int(raw.mean[:, k].argmax()) - int(normalised.mean[:, k].argmax())) >= APART:
            reasons.append("normalising the layers moves the most weight")
        found.append(reasons)
    return found


def _prepared(features: NDArray, normalised: bool) -> NDArray[np.float32]:
    """Layers of their own variance, or scaled as a whole so that their norms keep their ratios."""
    if normalised:
        return np.stack([standardised(features[:, k]) for k in range(features.shape[1])], axis=1).astype(
            np.float32
        )
    x = features.astype(np.float32)
    return (x - x.mean(0)) / x.std()


def _train(
    x: torch.Tensor, y: torch.Tensor, seeds: Sequence[int], steps: int
) -> tuple[NDArray[np.float64], torch.Tensor]:
    """Weights (S, L, K) and heads (S, F, K) after training from each seed, all side by side.

    The loss is a sum over seeds and Adam looks at each number alone, so no seed knows of another.
    """
    layers, width, targets = x.shape[1], x.shape[2], y.shape[1]
    started = [_start(seed, layers, width, targets) for seed in seeds]
    logits = torch.cat([first for first, _ in started], dim=1).requires_grad_()
    heads = torch.cat([second for _, second in started], dim=1).requires_grad_()
    wanted = y.repeat(1, len(seeds))
    optimiser = torch.optim.AdamW(
        [{"params": [logits], "weight_decay": 0.0}, {"params": [heads], "weight_decay": WEIGHT_DECAY}],
        lr=LEARNING_RATE,
    )
    for _ in range(steps):
        optimiser.zero_grad()
        by_layer = torch.einsum("nlf,fk->nlk", x, heads)
        loss = ((by_layer * logits.softmax(0)).sum(1) - wanted).square().mean() * len(seeds)
        loss.backward()
        optimiser.step()
    weights = logits.detach().softmax(0).double().unflatten(1, (len(seeds), targets))
    return weights.movedim(1, 0).numpy(), heads.detach().unflatten(1, (len(seeds), targets)).movedim(1, 0)


def _start(seed: int, layers: int, width: int, targets: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (L, K) and heads (F, K) before training."""
    generator = torch.Generator().manual_seed(seed)
    logits = 0.1 * torch.randn(layers, targets, generator=generator)
    return logits, torch.randn(width, targets, generator=generator) / width
