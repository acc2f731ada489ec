"""The processes of one training, on one machine or several, as `accelerate launch` starts them."""

import os
from collections.abc import Sequence
from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.state import AcceleratorState
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType, parse_flag_from_env

from multimodal_ser.errors import InputError
from multimodal_ser.labels import nearest

# While one process decodes a corpus, the others wait; the default of ten minutes would end them.
PATIENCE = timedelta(hours=12)
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # our name: accelerate's


def processes(on_cpu: bool = False) -> PartialState:
    """This process among its like."""
    on_cpu = on_cpu or parse_flag_from_env("ACCELERATE_USE_CPU")
    if PartialState._shared_state and PartialState._shared_state.get("_cpu") != on_cpu:
        _forget()
    return PartialState(on_cpu, timeout=PATIENCE)


def new_accelerator(
    precision: str, on_cpu: bool, trackers: Sequence[str], folder: str | os.PathLike
) -> Accelerator:
    """An accelerator with these settings, whatever an earlier one in this process had."""
    _check(precision, processes(on_cpu).device, trackers)
    known = AcceleratorState._shared_state
    if known and known.get("_mixed_precision") != PRECISIONS[precision]:
        AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=PRECISIONS[precision],
        cpu=on_cpu,
        log_with=list(trackers) or None,
        project_dir=folder,
        # Buffers are constants here. Sent with every forward pass, they would also make processes with
        # different numbers of parts wait for each other for ever.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def anywhere(accelerator: Accelerator, flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor([float(flag)], device=accelerator.device), "sum").item())


def _check(precision: str, device: torch.device, trackers: Sequence[str]) -> None:
    """Refuse what accelerate would leave out without a word."""
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16 needs a GPU; on a CPU use bf16 or fp32")
    known = sorted(str(kind) for kind in LoggerType if kind != LoggerType.ALL)
    installed = {str(kind) for kind in get_available_trackers()}
    for name in trackers:
        if name not in known:
            raise InputError(f"unknown tracker '{name}'{nearest(name, known)}; known: {', '.join(known)}")
        if name not in installed:
            raise InputError(
                f"the tracker '{name}' is not installed; tensorboard comes with the extra [track]"
            )


def _forget() -> None:
    """accelerate keeps one state per process and refuses another device; there is no public way to drop it.

    With several processes it stays: their group cannot be made twice.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
