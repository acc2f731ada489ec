"""Which weights are trained how fast, how the rate goes over a run, and which steps are taken."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest

SCHEDULES = ("constant", "linear", "cosine")
IDS_SHOWN = 5  # of a batch, in an error
LEAST_RATE = 0.01  # of the peak, where a schedule ends


def parameter_groups(
    module: nn.Module, rate: float, rates: Mapping[str, float], weight_decay: float
) -> list[dict[str, Any]]:
    """Trainable weights by learning rate; biases and norms, which have one axis, are not decayed.

    rates: rates of parts, by the beginning of a parameter's name; the longest match counts, `rate` is that
    of the others. The group's `peak` keeps its rate while `lr` follows the schedule.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    unused = set(rates)
    for name, parameter in module.named_parameters():
        matches = [prefix for prefix in rates if name.startswith(prefix)]
        unused -= set(matches)
        if parameter.requires_grad:
            own = rates[max(matches, key=len)] if matches else rate
            groups.setdefault((own, parameter.ndim > 1), []).append(parameter)
    if unused:
        wrong = sorted(unused)[0]
        parts = sorted({".".join(name.split(".")[:2]) + "." for name, _ in module.named_parameters()})
        raise InputError(
            f"learning_rates: no parameter begins with '{wrong}'{nearest(wrong, parts)}; "
            f"parts: {', '.join(parts)}"
        )
    if not groups:
        raise InputError("every parameter is frozen: there is nothing to train")
    return [
        {"params": parameters, "lr": own, "peak": own, "weight_decay": weight_decay * is_matrix}
        for (own, is_matrix), parameters in groups.items()
    ]


def rate_factor(step: int, total: int, warmup: float, schedule: str) -> float:
    """The share of the peak rate in a step, counted from 0: linear warm-up, then the schedule.

    warmup: share of all steps.
    """
    warm = round(warmup * total)
    if step < warm:
        return (step + 1) / warm
    if schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, total - warm)
    left = 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return LEAST_RATE + (1 - LEAST_RATE) * left


def is_sound(losses: Mapping[str, float], norm: float, precision: str) -> bool:
    """Whether a step may be taken; with fp16 a gradient that overflowed is skipped and scaled down later."""
    return math.isfinite(losses["loss"]) and (math.isfinite(norm) or precision == "fp16")


def diverged(losses: Mapping[str, float], step: int, epoch: int, ids: Sequence[str]) -> str:
    """What to say of a step that may not be taken; step and epoch counted from 0, ids of its utterances."""
    more = f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
    named = ", ".join(f"{name} {value:g}" for name, value in losses.items())
    return (
        f"training diverged in step {step + 1} (epoch {epoch + 1}): loss or gradient is "
        f"not finite ({named}); utterances of the batch: {', '.join(ids[:IDS_SHOWN])}{more}. Nothing of this "
        "step was kept. The likely cause is a high training.learning_rate, precision fp16 (try bf16), or "
        "what these utterances hold"
    )


def parameter_counts(model: nn.Module) -> dict[str, Any]:
    """All and trainable parameters, of the whole network and of its parts."""

    def count(module: nn.Module) -> dict[str, int]:
        sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
        return {"total": sum(n for n, _ in sizes), "trainable": sum(n for n, trains in sizes if trains)}

    return {**count(model), "parts": {name: count(part) for name, part in model.named_children()}}
