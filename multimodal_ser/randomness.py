"""The state of torch's random numbers, so that something can be done again, or later, with the same ones."""

import torch
from torch import Tensor


def random_state(device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The generators that a network on `device` draws from: the CPU's, and the device's own."""
    state = {"cpu": torch.get_rng_state()}
    kind = torch.device(device).type
    if kind == "cuda":  # this one only: asking for all would start every GPU from every process
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif kind == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
    """Go on with random numbers where `random_state` was taken."""
    torch.set_rng_state(state["cpu"])
    kind = torch.device(device).type
    if kind == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif kind == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
