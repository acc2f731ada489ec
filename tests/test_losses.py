"""Losses against closed forms, NumPy and finite differences."""

import math

import numpy as np
import pytest
import torch

from multimodal_ser import metrics
from multimodal_ser.losses import concordance, concordance_loss, soft_cross_entropy, squared_error


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(40, 3, generator=generator, dtype=torch.float64)
    return 0.3 + 0.4 * targets + 0.1 * torch.rand(40, 3, generator=generator, dtype=torch.float64), targets


def numpy_ccc(x: np.ndarray, y: np.ndarray) -> float:
    """Lin's formula written with NumPy's own covariance matrix."""
    (vx, cxy), (_, vy) = np.cov(x, y, bias=True)
    return 2 * cxy / (vx + vy + (x.mean() - y.mean()) ** 2)


def test_concordance_equals_lins_formula_by_numpy(pair):
    x, y = pair
    expected = [numpy_ccc(x[:, d].numpy(), y[:, d].numpy()) for d in range(3)]
    np.testing.assert_allclose(concordance(x, y).numpy(), expected, rtol=1e-12)


def test_concordance_in_closed_form():
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    assert concordance(y, y).item() == pytest.approx(1)
    assert concordance(1 - y, y).item() == pytest.approx(-1)
    # Shifting by d a series of variance 1/4: 2/4 / (2/4 + d^2).
    assert concordance(y + 0.5, y).item() == pytest.approx(0.5 / (0.5 + 0.25))


def test_loss_and_metric_agree(pair):
    x, y = pair
    mean = np.mean([metrics.ccc(x[:, d].numpy(), y[:, d].numpy()) for d in range(3)])
    assert concordance_loss(x, y).item() == pytest.approx(1 - mean, abs=1e-12)


def test_gradient_equals_finite_differences(pair):
    x, y = pair
    y = y.clone()
    y[::7, 1] = math.nan
    assert torch.autograd.gradcheck(lambda p: concordance_loss(p, y), x.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda p: squared_error(p, y), x.clone().requires_grad_())


def test_unlabelled_entries_take_no_part(pair):
    x, y = pair
    masked = y.clone()
    masked[10:, 2] = math.nan
    assert concordance(x, masked)[2].item() == pytest.approx(concordance(x[:10], y[:10])[2].item())
    assert squared_error(x, masked).item() == pytest.approx(
        torch.cat([(x - y)[:, 0], (x - y)[:, 1], (x - y)[:10, 2]]).square().mean().item()
    )


@pytest.mark.parametrize(
    "targets",
    [torch.full((4, 3), 0.5), torch.full((4, 3), math.nan), torch.tensor([[0.1, math.nan, 0.5]] * 4)],
    ids=["constant labels", "no labels", "both"],
)
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_degenerate_batches_give_finite_losses_and_gradients(targets, spread):
    predictions = (0.5 + spread * torch.arange(12.0).reshape(4, 3) / 12).requires_grad_()
    loss = concordance_loss(predictions, targets) + squared_error(predictions, targets)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(predictions.grad).all()


def test_a_column_without_labels_does_not_dilute_the_others(pair):
    x, y = pair
    masked = y.clone()
    masked[:, 1] = math.nan
    expected = concordance_loss(x[:, [0, 2]], y[:, [0, 2]])
    assert concordance_loss(x, masked).item() == pytest.approx(expected.item())


def test_concordance_of_small_parts_is_not_the_concordance_of_the_whole(pair):
    x, y = pair
    parts = [concordance_loss(x[i : i + 4], y[i : i + 4]).item() for i in range(0, 40, 4)]
    assert abs(np.mean(parts) - concordance_loss(x, y).item()) > 0.01


def test_soft_cross_entropy_equals_torch_on_one_hot_labels_and_skips_unlabelled_rows():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 3, 1, 1, 2])
    shares = torch.nn.functional.one_hot(classes, 4).float()
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    for weight in (None, weights):
        expected = torch.nn.functional.cross_entropy(logits, classes, weight=weight)
        torch.testing.assert_close(soft_cross_entropy(logits, shares, weight), expected)
    shares[2] = math.nan
    kept = torch.tensor([0, 1, 3, 4])
    expected = torch.nn.functional.cross_entropy(logits[kept], classes[kept])
    torch.testing.assert_close(soft_cross_entropy(logits, shares), expected)
