"""Losses as pure functions; rows are utterances, columns are dimensions or classes.

A NaN target means "not labelled" and takes no part. The concordance correlation coefficient (Lin, 1989) uses
population variances,

    ccc = 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2),

and is a statement about a whole batch: split a batch and the parts do not average to the whole. Whoever
trains over several devices or accumulation steps has to bring the predictions together first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Below this the two series are constant and equal, and agreement is undefined (unit scale, so a variance of
# 1e-12 is a spread of one millionth of the scale).
_TINY = 1e-12


def concordance(predictions: Tensor, targets: Tensor) -> Tensor:
    """The concordance of each column: (B, D) and (B, D) to (D,).

    A column with fewer than two labelled rows, or in which both sides are constant and equal, has none:
    0, with a gradient of 0.
    """
    labelled = ~targets.isnan()
    count = labelled.sum(0).clamp(min=1)
    x = torch.where(labelled, predictions, 0.0)
    y = torch.where(labelled, targets, 0.0)
    mean_x, mean_y = x.sum(0) / count, y.sum(0) / count
    dx = torch.where(labelled, x - mean_x, 0.0)
    dy = torch.where(labelled, y - mean_y, 0.0)
    covariance = (dx * dy).sum(0) / count
    disagreement = (dx**2).sum(0) / count + (dy**2).sum(0) / count + (mean_x - mean_y) ** 2
    is_defined = (labelled.sum(0) >= 2) & (disagreement > _TINY)
    # The inner `where` keeps 0/0 out of the backward pass, where the outer one alone would give NaN * 0.
    return torch.where(is_defined, 2 * covariance / torch.where(is_defined, disagreement, 1.0), 0.0)


def concordance_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """1 - concordance, averaged over the columns with at least two labelled rows; 0 if there are none."""
    usable = (~targets.isnan()).sum(0) >= 2
    losses = torch.where(usable, 1 - concordance(predictions, targets), 0.0)
    return losses.sum() / usable.sum().clamp(min=1)


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error over all labelled entries; 0 if there are none."""
    labelled = ~targets.isnan()
    difference = torch.where(labelled, predictions - torch.where(labelled, targets, 0.0), 0.0)
    return (difference**2).sum() / labelled.sum().clamp(min=1)


def soft_cross_entropy(logits: Tensor, shares: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy against shares of votes (B, C); rows of NaN are unlabelled; `weights` (C,) per class."""
    labelled = ~shares.isnan().any(1)
    shares = torch.where(labelled[:, None], shares, 0.0)
    per_class = -shares * F.log_softmax(logits, dim=1)
    if weights is not None:
        per_class = per_class * weights
        total = (shares * weights).sum()
    else:
        total = labelled.sum()
    return per_class.sum() / total.clamp(min=_TINY)
