"""The one training loop, for every objective.

It reads top to bottom: draw a batch, step, validate, checkpoint. What it promises:

- A loss over a whole batch sees the whole batch, over all processes and accumulation steps.
- The batches of a run depend on its seed and epoch alone. A run that was killed at any step and resumed
  ends with the same weights as one that was not.
- The model that is kept is the one with the best score on development data.

`batch_seconds` counts the audio of one batch over all processes and accumulation steps, padding included.
"""

import contextlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from multimodal_ser.cache import atomic_path, hash_options, write_text
from multimodal_ser.checkpoints import Checkpoint, Checkpoints, whole
from multimodal_ser.data import Batch, Collate, DurationBatches, Examples, iterate, loader
from multimodal_ser.errors import InputError
from multimodal_ser.objectives.backward import Step, backward, gather_rows, random_state, set_random_state
from multimodal_ser.objectives.objective import Objective

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # our name: accelerate's
SCHEDULES = ("constant", "linear", "cosine")
LEAST_RATE = 0.01  # of the peak, at the end of a schedule
_HISTORY = "history.jsonl"
_BEST = "checkpoints/best.safetensors"


@dataclass(frozen=True)
class TrainingConfig:
    """How to train, whatever is trained."""

    epochs: int = 20
    max_steps: int | None = None
    batch_seconds: float = 160.0
    accumulation: int = 1
    learning_rate: float = 1e-3
    # Rates of parts, by the beginning of a parameter's name: {"model.audio.": 1e-5}. The longest match
    # counts.
    learning_rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    schedule: str = "cosine"
    clip: float = 1.0  # largest norm of the gradient; 0 = any
    precision: str = "fp32"
    patience: int | None = 5  # epochs without a better score before training stops
    checkpoint_steps: int = 200
    workers: int = 0
    seed: int = 0
    device: str = "auto"  # auto or cpu
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "trackers", tuple(self.trackers))
        choices = {"precision": tuple(PRECISIONS), "schedule": SCHEDULES, "device": ("auto", "cpu")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} = {getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        for name in ("epochs", "accumulation", "checkpoint_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: at least 1")


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint."""

    step: int = 0
    epoch: int = 0
    position: int = 0  # batches done in this epoch
    accumulation: int = 1  # grows when memory runs out
    best_score: float | None = None
    best_step: int = 0
    stale: int = 0  # validations since the best
    finished: bool = False
    losses: dict[str, float] = field(default_factory=dict)  # sums since the last validation
    steps_summed: int = 0


class Stopped(KeyboardInterrupt):
    """A signal came; the run has been saved and can be resumed."""


def train(
    objective: Objective,
    training: Examples,
    development: Examples | None,
    collate: Collate,
    config: TrainingConfig,
    folder: str | os.PathLike,
) -> Progress:
    """Train in a run folder, going on where an earlier call stopped; the best weights are left in the model.

    Without development data the score is taken on the training data, which selects nothing worth having:
    fine for pre-training, where the loss is the aim.
    """
    folder = Path(folder)
    accelerator = Accelerator(
        mixed_precision=PRECISIONS[config.precision],
        cpu=config.device == "cpu",
        log_with=list(config.trackers) or None,
        project_dir=folder,
    )
    processes, rank = accelerator.num_processes, accelerator.process_index
    batches = DurationBatches(training.seconds, config.batch_seconds, config.seed, smallest=processes)
    total_steps = _total_steps(batches, config)
    run = hash_options(training=asdict(config), ids=[u.id for u in training.utterances])
    torch.manual_seed(config.seed + rank)
    optimizer = torch.optim.AdamW(parameter_groups(objective, config))
    module, optimizer = accelerator.prepare(Step(objective), optimizer)
    checkpoints = Checkpoints(folder / "checkpoints")
    progress = _resumed(accelerator, checkpoints, objective, optimizer, config, run, folder)
    if config.trackers:
        accelerator.init_trackers("multimodal_ser")

    with _signals() as stop_asked, _bar(accelerator, total_steps, progress) as bar:
        while not progress.finished:
            left = batches.epoch(progress.epoch)[progress.position :]
            feed = loader(training, collate, left, progress.epoch, rank, processes, config.workers)
            objective.train()
            for positions, batch in zip(left, iterate(feed, accelerator.device), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * rate_factor(progress.step, total_steps, config)
                losses = _backward_within_memory(accelerator, module, objective, batch, progress)
                if config.clip:
                    accelerator.clip_grad_norm_(objective.parameters(), config.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

                progress.step += 1
                progress.position += 1
                progress.steps_summed += 1
                for name, value in losses.items():
                    progress.losses[name] = progress.losses.get(name, 0.0) + float(value)
                bar(float(losses["loss"]), training.seconds[positions])

                if _anywhere(accelerator, stop_asked()):
                    _save(accelerator, checkpoints, objective, optimizer, progress, run)
                    raise Stopped(f"saved at step {progress.step}; the same command goes on from there")
                if progress.step % config.checkpoint_steps == 0:
                    _save(accelerator, checkpoints, objective, optimizer, progress, run)
                if progress.step >= total_steps:
                    break

            progress.epoch += 1
            progress.position = 0
            objective.eval()
            measured = _measure(accelerator, objective, development or training, collate, config)
            _note(accelerator, objective, progress, measured, config, total_steps, folder)
            _save(accelerator, checkpoints, objective, optimizer, progress, run)

    accelerator.wait_for_everyone()
    objective.model.load_state_dict(load_file(folder / _BEST))
    objective.eval()
    if config.trackers:
        accelerator.end_training()
    return progress


def parameter_groups(objective: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Trainable weights by learning rate; biases and norms, which have one axis, are not decayed."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    unused = set(config.learning_rates)
    for name, parameter in objective.named_parameters():
        matches = [prefix for prefix in config.learning_rates if name.startswith(prefix)]
        unused -= set(matches)
        if parameter.requires_grad:
            rate = config.learning_rates[max(matches, key=len)] if matches else config.learning_rate
            groups.setdefault((rate, parameter.ndim > 1), []).append(parameter)
    if unused:
        parts = sorted({".".join(name.split(".")[:2]) for name, _ in objective.named_parameters()})
        raise InputError(
            f"learning_rates: no parameter begins with '{sorted(unused)[0]}'; parts: {', '.join(parts)}"
        )
    if not groups:
        raise InputError("every parameter is frozen: there is nothing to train")
    return [
        {"params": parameters, "lr": rate, "peak": rate, "weight_decay": config.weight_decay * is_matrix}
        for (rate, is_matrix), parameters in groups.items()
    ]


def rate_factor(step: int, total: int, config: TrainingConfig) -> float:
    """The share of the peak learning rate in a step: linear warm-up, then the schedule."""
    warm = round(config.warmup * total)
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    done = (step - warm) / max(1, total - warm)
    left = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return LEAST_RATE + (1 - LEAST_RATE) * left


def _total_steps(batches: DurationBatches, config: TrainingConfig) -> int:
    total = sum(len(batches.epoch(number)) for number in range(config.epochs))
    return total if config.max_steps is None else min(total, config.max_steps)


def _resumed(
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    objective: Objective,
    optimizer: Any,
    config: TrainingConfig,
    run: str,
    folder: Path,
) -> Progress:
    """Where the newest checkpoint left off, with everything restored; a fresh start if there is none."""
    found = checkpoints.latest()
    history = folder / _HISTORY
    if found is None:
        if accelerator.is_main_process:
            write_text(history, "")
        return Progress(accumulation=config.accumulation)
    if found.state["run"] != run:
        raise InputError(
            f"{folder} holds a run with other settings or other data; choose another folder, "
            "or start over with --restart"
        )
    objective.load_state_dict(found.weights)
    optimizer.load_state_dict(found.optimizer["optimizer"])
    set_random_state(found.optimizer["random"][accelerator.process_index])
    if accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(found.optimizer["scaler"])
    progress = Progress(**found.state["progress"])
    if accelerator.is_main_process:  # what was noted after the checkpoint will be noted again
        lines = history.read_text(encoding="utf-8").splitlines(keepends=True)
        complete = [line for line in lines if line.endswith("\n")]
        write_text(history, "".join(x for x in complete if json.loads(x)["step"] <= progress.step))
    return progress


def _backward_within_memory(
    accelerator: Accelerator, module: nn.Module, objective: Objective, batch: Batch, progress: Progress
) -> dict[str, torch.Tensor]:
    """Gradients of a batch; when memory runs out, of the same batch in twice as many parts, from then on."""
    random = random_state()
    while True:
        try:
            return backward(accelerator, module, objective, batch, progress.accumulation)
        except (RuntimeError, MemoryError) as error:
            # With several processes the others would wait for this one in the middle of an exchange.
            can_halve = progress.accumulation < batch.size and accelerator.num_processes == 1
            if not _is_out_of_memory(error) or not can_halve:
                raise
        progress.accumulation *= 2
        module.zero_grad(set_to_none=True)
        set_random_state(random)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        tqdm.write(
            f"out of memory: going on with each batch in {progress.accumulation} parts; "
            "the loss still sees the whole batch",
            file=sys.stderr,
        )


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text


def _measure(
    accelerator: Accelerator,
    objective: Objective,
    examples: Examples,
    collate: Collate,
    config: TrainingConfig,
) -> dict[str, float]:
    """What `validate` says, each process having looked at its share."""
    order = DurationBatches(
        examples.seconds, config.batch_seconds, shuffle=False, smallest=accelerator.num_processes
    ).epoch(0)
    feed = loader(
        examples,
        collate,
        order,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=config.workers,
    )
    with accelerator.autocast():
        return objective.validate(
            iterate(feed, accelerator.device), lambda rows: gather_rows(accelerator, rows)
        )


def _note(
    accelerator: Accelerator,
    objective: Objective,
    progress: Progress,
    measured: dict[str, float],
    config: TrainingConfig,
    total_steps: int,
    folder: Path,
) -> None:
    """Keep the best weights, write a line of history, decide whether this was the last epoch."""
    if progress.best_score is None or measured["score"] > progress.best_score:
        progress.best_score, progress.best_step, progress.stale = measured["score"], progress.step, 0
        if accelerator.is_main_process:
            with atomic_path(folder / _BEST) as path:
                save_file(whole(objective.model.state_dict()), path, {"format": "pt"})
    else:
        progress.stale += 1
    is_stale = config.patience is not None and progress.stale >= config.patience
    progress.finished = is_stale or progress.step >= total_steps
    line = {
        "step": progress.step,
        "epoch": progress.epoch,
        **{f"train_{name}": total / progress.steps_summed for name, total in progress.losses.items()},
        **measured,
    }
    progress.losses, progress.steps_summed = {}, 0
    if accelerator.is_main_process:
        with (folder / _HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    if config.trackers:
        accelerator.log(line, step=progress.step)


def _save(
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    objective: Objective,
    optimizer: Any,
    progress: Progress,
    run: str,
) -> None:
    """Write a checkpoint from which a run goes on exactly."""
    random = gather_object([random_state()])
    if not accelerator.is_main_process:
        return
    scaler = {} if accelerator.scaler is None else accelerator.scaler.state_dict()
    checkpoints.save(
        progress.step,
        Checkpoint(
            objective.state_dict(),
            {"optimizer": optimizer.state_dict(), "random": random, "scaler": scaler},
            {"run": run, "progress": asdict(progress)},
        ),
    )


def _anywhere(accelerator: Accelerator, flag: bool) -> bool:
    """Whether `flag` is set in any process."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor([float(flag)], device=accelerator.device), "sum").item())


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Within, SIGINT and SIGTERM are noted, so that the loop can save before it stops."""
    noted: list[int] = []
    try:
        before = {n: signal.signal(n, lambda s, _: noted.append(s)) for n in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _bar(accelerator: Accelerator, total: int, progress: Progress) -> Iterator[Callable]:
    """Progress on standard error: loss, hours of audio per second, share of padding."""
    bar = tqdm(
        total=total,
        initial=progress.step,
        desc="train",
        unit="step",
        file=sys.stderr,
        mininterval=1.0,
        leave=False,
        disable=not accelerator.is_local_main_process,
    )
    started, heard, padded = time.monotonic(), 0.0, 0.0

    def advance(loss: float, seconds: Any) -> None:
        nonlocal heard, padded
        heard += float(seconds.sum())
        padded += float(seconds.max()) * len(seconds)
        rate = heard / 3600 / max(time.monotonic() - started, 1e-9)
        bar.set_postfix_str(
            f"loss {loss:.3f}, {rate:.3g} h/s, padding {1 - heard / max(padded, 1e-9):.0%}", refresh=False
        )
        bar.update()

    with bar:
        yield advance
