"""Random numbers can be drawn again."""

import pytest
import torch

from multimodal_ser.randomness import random_state, set_random_state


def test_from_the_same_state_come_the_same_numbers() -> None:
    state = random_state()
    first = torch.rand(5), torch.nn.functional.dropout(torch.ones(50))
    set_random_state(state)
    again = torch.rand(5), torch.nn.functional.dropout(torch.ones(50))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(torch.rand(5), first[0])


def test_taking_the_state_changes_no_number_and_keeps_no_reference() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    state = random_state()
    kept = state["cpu"].clone()
    assert torch.equal(torch.rand(3), wanted)
    assert torch.equal(state["cpu"], kept)


@pytest.mark.gpu
def test_the_state_of_a_gpu_is_taken_too() -> None:
    state = random_state("cuda:0")
    first = torch.rand(5, device="cuda:0")
    set_random_state(state, "cuda:0")
    assert torch.equal(torch.rand(5, device="cuda:0"), first)
    set_random_state({"cpu": state["cpu"]}, "cuda:0")  # of a run that began on a CPU
