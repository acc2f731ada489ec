"""Which weights are trained how fast, and how the rate goes over the steps of a run."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest

SCHEDULES = ("constant", "linear", "cosine")
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
