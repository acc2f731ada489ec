"""An exponential mean of the weights over the steps of a training, validated and kept in their place.

Single steps pull the weights about; their mean lies in the middle of where they go, and mostly does a little
better (Polyak and Juditsky, 1992; Izmailov et al., 2018, arXiv 1803.05407). The decay rises to its value over
the first steps, min(decay, (1 + n) / (10 + n)), so that the first weights are forgotten. It depends
on the step alone, and the mean is part of a checkpoint: a resumed run goes on exactly.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class WeightAverage:
    """The mean of what is trained in a model; without a decay it is the weights themselves."""

    def __init__(self, model: nn.Module, decay: float | None) -> None:
        self.decay = decay
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.weights: dict[str, Tensor] = (
            {} if decay is None else {name: p.detach().clone() for name, p in self._trained.items()}
        )

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        if self.decay is not None:
            share = 1 - min(self.decay, (1 + step) / (10 + step))
            for name, mean in self.weights.items():
                mean.lerp_(self._trained[name].detach(), share)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from the mean of a checkpoint."""
        for name, mean in self.weights.items():
            mean.copy_(weights[name])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the mean in the place of its weights while this lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, mean in self.weights.items():
            held = self._trained[name].detach().clone()
            self._trained[name].copy_(mean)
            mean.copy_(held)
