"""Gradients of an objective over a batch that is spread over accumulation steps and processes.

Losses that are means over utterances simply add up. A loss over the whole batch, such as 1 - CCC, is
differentiated with respect to the rows of all parts and all processes; with more than one part that takes
a pass without gradients to collect the rows and a second one, with the same random numbers, to carry
their gradient on to the weights (Gao et al., 2021, arXiv 2101.06983). Memory is that of one part, the
cost one more forward pass.
"""

import contextlib
import itertools
import sys

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.randomness import random_state, set_random_state


class Step(nn.Module):
    """What is wrapped for several processes: it gives rows if the loss needs all of them, else losses."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if not self.objective.whole_batch:
            return self.objective(batch)
        # Half precision would round what all rows together decide.
        return {
            name: rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
            for name, rows in self.objective.outputs(batch).items()
        }


def backward_within_memory(
    accelerator: Accelerator, module: nn.Module, objective: Objective, batch: Batch, parts: int
) -> tuple[dict[str, Tensor], int]:
    """The same as `backward`; when memory runs out, the same batch in twice as many parts.

    The second value is how many parts there were.
    """
    random = random_state(accelerator.device)
    while True:
        try:
            return backward(accelerator, module, objective, batch, parts), parts
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # With several processes the others would wait for this one in the middle of an exchange.
            if accelerator.num_processes > 1 or parts >= batch.size:
                raise InputError(_advice(batch, parts, accelerator.num_processes)) from error
        parts *= 2
        module.zero_grad(set_to_none=True)
        set_random_state(random, accelerator.device)
        if accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        tqdm.write(
            f"out of memory: going on with each batch in {parts} parts; the loss still sees the whole batch",
            file=sys.stderr,
        )


def backward(
    accelerator: Accelerator, module: nn.Module, objective: Objective, batch: Batch, parts: int
) -> dict[str, Tensor]:
    """Add the gradient of the loss over the batch of all processes; the losses, detached.

    module: the prepared `Step` of `objective`. batch: this process's share. parts: accumulation steps.
    """
    pieces = [batch.rows(part) for part in spans(batch.size, parts)]
    counts = _counts(accelerator, batch.size)
    if not objective.whole_batch:
        return _backward_of_means(accelerator, module, pieces, sum(counts))
    if len(pieces) == 1:
        losses = objective.losses(_of_all_processes(accelerator, module(batch), counts))
        # Every process differentiates its own rows only; wrapping for several processes averages the
        # gradients over them, which divides by their number once too often.
        accelerator.backward(losses["loss"] * accelerator.num_processes)
        return _detached(losses)
    return _backward_in_two_passes(accelerator, module, objective, pieces, counts)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a device or on the machine."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in said or "not enough memory" in said
    )


def spans(size: int, parts: int) -> list[slice]:
    """`size` rows in at most `parts` runs of nearly equal length."""
    parts = max(1, min(parts, size))
    edges = [size * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def gather_rows(accelerator: Accelerator, rows: Tensor, counts: list[int] | None = None) -> Tensor:
    """The rows (n, ...) of all processes, whose numbers may differ, without gradient.

    counts: how many each has, if that is known.
    """
    if accelerator.num_processes == 1:
        return rows.detach()
    counts = counts or _counts(accelerator, len(rows))
    padded = rows.detach().new_zeros((max(counts), *rows.shape[1:])).to(accelerator.device)
    padded[: len(rows)] = rows.detach()
    everybody = accelerator.gather(padded).split(max(counts))
    return torch.cat([piece[:count] for piece, count in zip(everybody, counts, strict=True)])


def _counts(accelerator: Accelerator, own: int) -> list[int]:
    """How many rows each process has."""
    if accelerator.num_processes == 1:
        return [own]
    return accelerator.gather(torch.tensor([own], device=accelerator.device)).tolist()


def _of_all_processes(
    accelerator: Accelerator, rows: dict[str, Tensor], counts: list[int]
) -> dict[str, Tensor]:
    """The rows of all processes; this process's own keep their gradient."""
    if accelerator.num_processes == 1:
        return rows
    merged = {}
    for name, own in rows.items():
        parts = list(gather_rows(accelerator, own, counts).split(counts))
        parts[accelerator.process_index] = own
        merged[name] = torch.cat(parts)
    return merged


def _backward_of_means(
    accelerator: Accelerator, module: nn.Module, pieces: list[Batch], total: int
) -> dict[str, Tensor]:
    """total: utterances of all processes, which count the same wherever they are."""
    sums: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces):
        share = piece.size / total
        with _synchronised(accelerator, module, number == len(pieces) - 1):
            losses = module(piece)
            # Wrapping for several processes averages their gradients where a sum is wanted.
            accelerator.backward(losses["loss"] * (share * accelerator.num_processes))
        for name, value in _detached(losses).items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value * share
    if accelerator.num_processes == 1:
        return sums
    return dict(zip(sums, accelerator.reduce(torch.stack(list(sums.values())), "sum"), strict=True))


def _backward_in_two_passes(
    accelerator: Accelerator,
    module: nn.Module,
    objective: Objective,
    pieces: list[Batch],
    counts: list[int],
) -> dict[str, Tensor]:
    states, collected = [], []
    for piece in pieces:
        states.append(random_state(accelerator.device))
        with torch.no_grad():
            collected.append(module(piece))
    rows = {name: torch.cat([part[name] for part in collected]) for name in collected[0]}
    leaves = {name: value.requires_grad_() for name, value in rows.items() if value.is_floating_point()}
    losses = objective.losses(_of_all_processes(accelerator, rows, counts))
    gradients = torch.autograd.grad(
        losses["loss"] * accelerator.num_processes, list(leaves.values()), allow_unused=True
    )
    edges = spans(sum(piece.size for piece in pieces), len(pieces))
    for number, piece in enumerate(pieces):
        set_random_state(states[number], accelerator.device)
        with _synchronised(accelerator, module, number == len(pieces) - 1):
            again = module(piece)
            carried = [
                (again[name] * gradient[edges[number]]).sum()
                for name, gradient in zip(leaves, gradients, strict=True)
                if gradient is not None and again[name].requires_grad
            ]
            accelerator.backward(torch.stack(carried).sum())
    return _detached(losses)


def _advice(batch: Batch, parts: int, processes: int) -> str:
    if processes > 1:
        return (
            "out of memory; with several processes parts cannot be halved on the way: "
            f"set training.accumulation to {2 * parts}, or lower training.batch_seconds"
        )
    return (
        f"out of memory with single utterances, for example {batch.ids[0]}: take a smaller model or freeze "
        "more of it, use training.precision bf16, or leave out the longest utterances"
    )


def _synchronised(
    accelerator: Accelerator, module: nn.Module, is_last: bool
) -> contextlib.AbstractContextManager:
    """Gradients go to the other processes once per batch, with the last part."""
    return contextlib.nullcontext() if is_last else accelerator.no_sync(module)


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in losses.items()}
