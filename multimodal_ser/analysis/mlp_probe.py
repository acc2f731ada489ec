"""A small nonlinear probe of each layer, to see whether something is there that a line does not reach.

One hidden layer on the principal components of each layer; the probes of all layers are trained side by side.
For each held-out fold of speakers the next fold says when to stop, for each layer and dimension on its own,
and the rest is trained on.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from multimodal_ser.analysis.probes import Probed

HIDDEN = 64  # units
EPOCHS = 40
BATCH = 256  # utterances
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-2


def mlp_probe(
    components: NDArray[np.float64], labels: NDArray[np.float64], folds: NDArray[np.int64], seed: int = 0
) -> list[Probed]:
    """Held-out predictions of labels (N, K) from the `reduced` components (N, L, C) of each layer."""
    count, layers = int(folds.max()) + 1, components.shape[1]
    predictions = np.zeros((len(labels), layers, labels.shape[1]))
    intercepts = np.zeros(labels.shape)
    scale = np.maximum(components.std(0), 1e-12).max(-1, keepdims=True)  # of each layer as a whole
    x = torch.from_numpy((components / scale).astype(np.float32))
    for fold in range(count):
        parts = [folds == fold, folds == (fold + 1) % count]
        train = ~(parts[0] | parts[1])
        mean, spread = labels[train].mean(0), np.maximum(labels[train].std(0), 1e-12)
        y = torch.from_numpy(((labels - mean) / spread).astype(np.float32))
        held, develop, rest = (torch.from_numpy(np.flatnonzero(part)) for part in (*parts, train))
        said = _train(x, y, rest, develop, held, seed + fold)
        predictions[parts[0]] = mean + said * spread
        intercepts[parts[0]] = mean
    unknown = np.full((count, labels.shape[1]), np.nan)
    return [Probed(predictions[:, layer], intercepts, unknown) for layer in range(layers)]


def _train(
    x: Tensor, y: Tensor, rest: Tensor, develop: Tensor, held: Tensor, seed: int
) -> NDArray[np.float64]:
    """Predictions (held, L, K), each by the weights of the epoch that was best on `develop`."""
    generator = torch.Generator().manual_seed(seed)
    _, layers, width = x.shape
    first = (torch.randn(layers, width, HIDDEN, generator=generator) / width**0.5).requires_grad_()
    offset = torch.zeros(layers, 1, HIDDEN, requires_grad=True)
    second = (torch.randn(layers, HIDDEN, y.shape[1], generator=generator) / HIDDEN).requires_grad_()
    optimiser = torch.optim.AdamW([first, offset, second], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def run(rows: Tensor) -> Tensor:
        hidden = torch.nn.functional.gelu(torch.baddbmm(offset, x[rows].transpose(0, 1), first))
        return torch.bmm(hidden, second).transpose(0, 1)

    with torch.no_grad():
        best = y[develop][:, None].square().mean(0).repeat(layers, 1)  # saying the mean of the training folds
    said = torch.zeros(len(held), layers, y.shape[1])
    for _ in range(EPOCHS):
        order = rest[torch.randperm(len(rest), generator=generator)]
        for rows in order.split(BATCH):
            optimiser.zero_grad()
            (run(rows) - y[rows][:, None]).square().mean((0, 2)).sum().backward()
            optimiser.step()
        with torch.no_grad():
            error = (run(develop) - y[develop][:, None]).square().mean(0)
            better = error < best
            best, said = torch.where(better, error, best), torch.where(better, run(held), said)
    return said.double().numpy()
