"""Gradients of an objective over a batch that is spread over accumulation steps and processes.

Losses that are means over utterances simply add up. A loss over the whole batch, such as 1 - CCC, is
differentiated with respect to the rows of all parts and all processes; with more than one part that takes
a pass without gradients to collect the rows and a second one, with the same random numbers, to carry
their gradient on to the weights (Gao et al., 2021, arXiv 2101.06983). Memory is that of one part, the
cost one more forward pass.
"""

import contextlib
import itertools
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.objectives.objective import Objective


class Step(nn.Module):
    """What is wrapped for several processes: it gives rows if the loss needs all of them, else losses."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if not self.objective.whole_batch:
            return self.objective(batch)
        return {name: rows.float() for name, rows in self.objective.outputs(batch).items()}


def backward(
    accelerator: Accelerator, module: nn.Module, objective: Objective, batch: Batch, parts: int
) -> dict[str, Tensor]:
    """Add the gradient of the loss over the batch of all processes; the losses, detached.

    module: the prepared `Step` of `objective`. batch: this process's share. parts: accumulation steps.
    """
    pieces = [batch.rows(part) for part in spans(batch.size, parts)]
    if not objective.whole_batch:
        return _backward_of_means(accelerator, module, pieces, batch.size)
    if len(pieces) == 1:
        losses = objective.losses(_of_all_processes(accelerator, module(batch)))
        # Every process differentiates its own rows only; wrapping for several processes averages the
        # gradients over them, which divides by their number once too often.
        accelerator.backward(losses["loss"] * accelerator.num_processes)
        return _detached(losses)
    return _backward_in_two_passes(accelerator, module, objective, pieces)


def spans(size: int, parts: int) -> list[slice]:
    """`size` rows in at most `parts` runs of nearly equal length."""
    parts = max(1, min(parts, size))
    edges = [size * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def gather_rows(accelerator: Accelerator, rows: Tensor) -> Tensor:
    """The rows (n, ...) of all processes, whose numbers may differ, without gradient."""
    if accelerator.num_processes == 1:
        return rows.detach()
    counts = accelerator.gather(torch.tensor([len(rows)], device=accelerator.device)).tolist()
    padded = rows.detach().new_zeros((max(counts), *rows.shape[1:])).to(accelerator.device)
    padded[: len(rows)] = rows.detach()
    everybody = accelerator.gather(padded).split(max(counts))
    return torch.cat([piece[:count] for piece, count in zip(everybody, counts, strict=True)])


def random_state() -> dict[str, Any]:
    """The state of torch's random numbers, on the CPU and on every GPU."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def set_random_state(state: dict[str, Any]) -> None:
    """Go on with random numbers where `random_state` was taken."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def _of_all_processes(accelerator: Accelerator, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """The rows of all processes; this process's own keep their gradient."""
    if accelerator.num_processes == 1:
        return rows
    rank = accelerator.process_index
    merged = {}
    for name, own in rows.items():
        counts = accelerator.gather(torch.tensor([len(own)], device=own.device)).tolist()
        others = list(gather_rows(accelerator, own).split(counts))
        others[rank] = own
        merged[name] = torch.cat(others)
    return merged


def _backward_of_means(
    accelerator: Accelerator, module: nn.Module, pieces: list[Batch], size: int
) -> dict[str, Tensor]:
    sums: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces):
        share = piece.size / size
        with _synchronised(accelerator, module, number == len(pieces) - 1):
            losses = module(piece)
            accelerator.backward(losses["loss"] * share)
        for name, value in _detached(losses).items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value * share
    return sums


def _backward_in_two_passes(
    accelerator: Accelerator, module: nn.Module, objective: Objective, pieces: list[Batch]
) -> dict[str, Tensor]:
    states, collected = [], []
    for piece in pieces:
        states.append(random_state())
        with torch.no_grad():
            collected.append(module(piece))
    rows = {name: torch.cat([part[name] for part in collected]).requires_grad_() for name in collected[0]}
    losses = objective.losses(_of_all_processes(accelerator, rows))
    gradients = torch.autograd.grad(
        losses["loss"] * accelerator.num_processes, list(rows.values()), allow_unused=True
    )
    edges = spans(sum(piece.size for piece in pieces), len(pieces))
    for number, piece in enumerate(pieces):
        set_random_state(states[number])
        with _synchronised(accelerator, module, number == len(pieces) - 1):
            again = module(piece)
            carried = [
                (again[name] * gradient[edges[number]]).sum()
                for name, gradient in zip(rows, gradients, strict=True)
                if gradient is not None and again[name].requires_grad
            ]
            accelerator.backward(torch.stack(carried).sum())
    return _detached(losses)


def _synchronised(
    accelerator: Accelerator, module: nn.Module, is_last: bool
) -> contextlib.AbstractContextManager:
    """Gradients go to the other processes once per batch, with the last part."""
    return contextlib.nullcontext() if is_last else accelerator.no_sync(module)


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in losses.items()}
