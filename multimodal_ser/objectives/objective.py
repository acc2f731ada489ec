"""What every way of training is.

The loop wants three things of an objective: `forward(batch)`, named losses with `loss` among them;
`model`, what is saved in the end; and `validate(batches)`, a dict with `score` among it, the higher the
better. It never asks which method it trains.

A loss such as 1 - CCC is a statement about a whole batch. An objective with such a loss sets
`whole_batch` and splits `forward` in two: `outputs(batch)`, tensors with one row per utterance, and
`losses(outputs)`. The loop then brings the rows of all processes and accumulation steps together in
between.

What is hidden of an utterance is drawn from `random_of(id)`: from seed, epoch and id alone, so that a run
that was resumed hides the same again.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.objectives.emotional_spans import generator_for

VALIDATION = -1  # stands for the epoch in validation: what is hidden there is the same every time
Gather = Callable[[Tensor], Tensor]  # the rows of all processes, from this process's rows


class Objective(nn.Module):
    """A model and what it is trained for."""

    model: nn.Module
    whole_batch = False
    seed = 0
    epoch = 0

    def begin_epoch(self, number: int) -> None:
        """Get ready to train in this epoch; what is hidden of an utterance follows from its number."""
        self.epoch = number
        self.train()

    def random_of(self, identifier: str) -> np.random.Generator:
        """The random numbers of one utterance in this epoch, whatever else is in its batch."""
        return generator_for(identifier, self.epoch if self.training else VALIDATION, self.seed)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Everything that `losses` needs, one row per utterance."""
        raise NotImplementedError

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses of a whole batch, `loss` among them."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.losses(self.outputs(batch))

    @torch.inference_mode()
    def validate(self, batches: Iterable[Batch], gather: Gather) -> dict[str, float]:
        """The mean losses over all utterances; the score is the negative loss."""
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            for name, value in self(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) * batch.size
            count += batch.size
        totals = gather(torch.tensor([[count, *sums.values()]], dtype=torch.float64)).sum(0)
        means = {name: float(total / totals[0]) for name, total in zip(sums, totals[1:], strict=True)}
        return {**means, "score": -means["loss"]}
