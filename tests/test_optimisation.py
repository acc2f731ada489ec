"""Groups of parameters and the course of the learning rate, against closed forms."""

import math

import pytest
import torch
from torch import nn

from multimodal_ser.errors import InputError
from multimodal_ser.optimisation import LEAST_RATE, parameter_groups, rate_factor


class Network(nn.Module):
    """Two parts and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {"audio": nn.Linear(2, 3), "audio_projection": nn.Linear(3, 3), "head": nn.LayerNorm(3)}
        )


def rates_by_name(network: nn.Module, rates: dict[str, float]) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, 1e-3, rates, 0.01)
    assert all(group["peak"] == group["lr"] for group in groups)
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_every_parameter_is_in_one_group_and_only_matrices_are_decayed() -> None:
    assert rates_by_name(Network(), {}) == {
        "model.audio.weight": (1e-3, 0.01),
        "model.audio.bias": (1e-3, 0.0),
        "model.audio_projection.weight": (1e-3, 0.01),
        "model.audio_projection.bias": (1e-3, 0.0),
        "model.head.weight": (1e-3, 0.0),
        "model.head.bias": (1e-3, 0.0),
    }


def test_the_longest_beginning_of_a_name_decides_its_rate() -> None:
    rates = {"model.audio": 1e-4, "model.audio.": 1e-5, "model.audio.bias": 0.0}
    found = {name: rate for name, (rate, _) in rates_by_name(Network(), rates).items()}
    assert found == {
        "model.audio.weight": 1e-5,
        "model.audio.bias": 0.0,
        "model.audio_projection.weight": 1e-4,
        "model.audio_projection.bias": 1e-4,
        "model.head.weight": 1e-3,
        "model.head.bias": 1e-3,
    }


def test_frozen_parameters_are_in_no_group_and_their_rate_is_no_error() -> None:
    network = Network()
    network.model["audio"].requires_grad_(False)
    found = rates_by_name(network, {"model.audio.": 1e-5})
    assert not any(name.startswith("model.audio.") for name in found)
    assert len(found) == 4


def test_a_beginning_that_fits_nothing_is_an_error_with_the_parts() -> None:
    with pytest.raises(
        InputError,
        match=r"no parameter begins with 'model\.adio\.' \(did you mean 'model\.audio\.'\?\); "
        r"parts: model\.audio\., model\.audio_projection\., model\.head\.",
    ):
        parameter_groups(Network(), 1e-3, {"model.adio.": 1e-5}, 0.01)


def test_a_network_that_is_all_frozen_cannot_be_trained() -> None:
    with pytest.raises(InputError, match="every parameter is frozen"):
        parameter_groups(Network().requires_grad_(False), 1e-3, {}, 0.01)


@pytest.mark.parametrize("total", [1, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_the_rate_rises_linearly_and_falls_as_the_schedule_says(total: int, warmup: float) -> None:
    warm = round(warmup * total)
    for step in range(total):
        if step < warm:
            assert rate_factor(step, total, warmup, "cosine") == (step + 1) / warm
            continue
        share = (step - warm) / (total - warm)
        assert rate_factor(step, total, warmup, "constant") == 1
        linear = LEAST_RATE * share + (1 - share)
        cosine = LEAST_RATE + (1 - LEAST_RATE) * math.cos(math.pi * share / 2) ** 2
        assert rate_factor(step, total, warmup, "linear") == pytest.approx(linear, abs=1e-12)
        assert rate_factor(step, total, warmup, "cosine") == pytest.approx(cosine, abs=1e-12)


def test_an_adamw_of_the_groups_decays_weights_and_leaves_biases_where_they_are() -> None:
    network = Network()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW(parameter_groups(network, 0.1, {}, 0.5)).step()
    for name, parameter in network.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
