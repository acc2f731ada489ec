"""The one training loop, for every objective.

It reads top to bottom: draw a batch, step, validate, checkpoint. What it promises:

- A loss over a whole batch sees the whole batch, over all processes and accumulation steps.
- The batches of a run depend on its seed and epoch alone. A run that was killed at any step and resumed
  ends with the same weights as one that was not, as far as the device computes the same twice.
- The model that is kept is the one with the best score on development data; one that diverged is never
  kept.

`batch_seconds` counts the audio of one batch over all processes and accumulation steps, padding included.
All processes have to see the run folder.
"""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from tqdm import tqdm

from multimodal_ser.averaging import WeightAverage
from multimodal_ser.batches import DurationBatches
from multimodal_ser.data import Collate, Examples, Feed, hash_utterances, iterate
from multimodal_ser.errors import InputError
from multimodal_ser.objectives.backward import Step, backward_within_memory, gather_rows
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.optimisation import SCHEDULES, diverged, is_sound, parameter_groups, rate_factor
from multimodal_ser.processes import PRECISIONS, anywhere, new_accelerator
from multimodal_ser.randomness import random_state, set_random_state
from multimodal_ser.run_folder import UTTERANCES, Progress, RunFolder
from multimodal_ser.terminal import interruptions, training_bar

# What may change when a run goes on, since it changes no number that comes out.
CHANGEABLE = ("checkpoint_steps", "device", "trackers", "workers")


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
    averaging: float | None = (
        None  # decay of a mean of the weights, which is validated and kept; see averaging
    )
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
        for name in ("epochs", "max_steps", "accumulation", "patience", "checkpoint_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} = {value}: at least 1")
        for name in ("learning_rate", "weight_decay", "clip", "workers", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)}: not negative")
        if self.averaging is not None and not 0 < self.averaging < 1:
            raise InputError(f"averaging = {self.averaging}: between 0 and 1, such as 0.99, or null for none")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"warmup = {self.warmup}: a share of all steps, 0 to 1")

    @property
    def lasting(self) -> dict[str, Any]:
        """What has to stay the same for a run to go on."""
        names = (item.name for item in fields(self) if item.name not in CHANGEABLE)
        return {name: getattr(self, name) for name in names}


class Stopped(KeyboardInterrupt):
    """A signal came; the run has been saved and can be resumed."""


def train(
    objective: Objective,
    training: Examples,
    development: Examples | None,
    collate: Collate,
    config: TrainingConfig,
    folder: str | os.PathLike,
    described: Mapping[str, Any] | None = None,
) -> Progress:
    """Train in a run folder, going on where an earlier call stopped; the best weights are left in the model.

    Without development data the score is taken on the training data, which selects nothing worth having:
    fine for pre-training, where the loss is the aim. described: settings of model, loss and data; a run
    only goes on with the same ones.
    """
    run = RunFolder(folder)
    accelerator = new_accelerator(config.precision, config.device == "cpu", config.trackers, run.folder)
    processes, rank = accelerator.num_processes, accelerator.process_index
    batches = DurationBatches(training.seconds, config.batch_seconds, config.seed, smallest=processes)
    total_steps = _total_steps(batches, config)
    measured_on = training if development is None else development
    feed, development_feed = (
        Feed(examples, collate, rank, processes, config.workers) for examples in (training, measured_on)
    )
    settings = {
        "training": config.lasting,
        "processes": processes,
        UTTERANCES: hash_utterances(training.utterances, measured_on.utterances),
        **(described or {}),
    }
    run.refuse_other_settings(settings)
    torch.manual_seed(config.seed + rank)
    groups = parameter_groups(objective, config.learning_rate, config.learning_rates, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, fused=accelerator.device.type == "cuda")
    module, optimizer = accelerator.prepare(Step(objective), optimizer)
    average = WeightAverage(objective, config.averaging)
    progress = _resumed(accelerator, run, objective, optimizer, average, config)

    with (
        interruptions() as stop_asked,
        training_bar(total_steps, progress.step) as bar,
        _tracked(accelerator, config) as track,
    ):
        while not progress.finished:
            left = batches.epoch(progress.epoch)[progress.position :][: total_steps - progress.step]
            objective.begin_epoch(progress.epoch)
            drawn = iterate(feed(left, progress.epoch), accelerator.device)
            for positions, batch in zip(left, drawn, strict=True):
                factor = rate_factor(progress.step, total_steps, config.warmup, config.schedule)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * factor
                losses, progress.accumulation = backward_within_memory(
                    accelerator, module, objective, batch, progress.accumulation
                )
                norm = accelerator.clip_grad_norm_(objective.parameters(), config.clip or math.inf)
                named = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
                if not is_sound(named, float(norm), config.precision):
                    ids = [training.utterances[i].id for i in positions]
                    raise InputError(diverged(named, progress.step, progress.epoch, ids))
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

                progress.step += 1
                average.update(progress.step)
                progress.position += 1
                progress.steps_summed += 1
                for name, value in named.items():
                    progress.losses[name] = progress.losses.get(name, 0.0) + value
                bar(named["loss"], batches.seconds[positions])

                stop = anywhere(accelerator, stop_asked())
                if stop or progress.step % config.checkpoint_steps == 0:
                    _save(accelerator, run, objective, optimizer, average, progress, settings)
                if stop:
                    raise Stopped(f"saved at step {progress.step}; the same command goes on from there")

            progress.epoch += 1
            progress.position = 0
            objective.eval()
            with average.applied():
                measured = _measure(
                    accelerator, objective, development_feed, measured_on.seconds, config, progress
                )
                line = _judge(accelerator, run, objective, progress, measured, config, total_steps)
            track(line)
            _save(accelerator, run, objective, optimizer, average, progress, settings)

    accelerator.wait_for_everyone()
    if progress.best_score is None:
        raise InputError("the score was undefined in every validation: there is no model to keep")
    objective.model.load_state_dict(run.best_weights())
    objective.eval()
    return progress


def _total_steps(batches: DurationBatches, config: TrainingConfig) -> int:
    total = sum(len(batches.epoch(number)) for number in range(config.epochs))
    return total if config.max_steps is None else min(total, config.max_steps)


def _resumed(
    accelerator: Accelerator,
    run: RunFolder,
    objective: Objective,
    optimizer: Any,
    average: WeightAverage,
    config: TrainingConfig,
) -> Progress:
    """Where the newest checkpoint left off, with everything restored; a fresh start if there is none."""
    found = run.checkpoints.latest()
    progress = Progress(accumulation=config.accumulation)
    if found is not None:
        progress = Progress(**found.state["progress"])
        objective.load_state_dict(found.weights)
        optimizer.load_state_dict(found.optimizer["optimizer"])
        average.load(found.optimizer.get("average", {}))
        set_random_state(found.optimizer["random"][accelerator.process_index], accelerator.device)
        if accelerator.scaler is not None and found.optimizer["scaler"]:
            accelerator.scaler.load_state_dict(found.optimizer["scaler"])
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.begin(progress)
    return progress


def _measure(
    accelerator: Accelerator,
    objective: Objective,
    feed: Feed,
    seconds: NDArray[np.float64],
    config: TrainingConfig,
    progress: Progress,
) -> dict[str, float]:
    """What `validate` says, each process having looked at its share."""
    fitting = config.batch_seconds / progress.accumulation  # what is known to fit into memory
    batches = DurationBatches(seconds, fitting, shuffle=False, smallest=accelerator.num_processes).epoch(0)
    with accelerator.autocast():
        return objective.validate(
            iterate(feed(batches), accelerator.device), lambda rows: gather_rows(accelerator, rows)
        )


def _judge(
    accelerator: Accelerator,
    run: RunFolder,
    objective: Objective,
    progress: Progress,
    measured: dict[str, float],
    config: TrainingConfig,
    total_steps: int,
) -> dict[str, float]:
    """Keep the best weights, write a line of history, decide whether this was the last epoch."""
    best, score = progress.best_score, measured["score"]
    is_better = not math.isnan(score) and (best is None or score > best)
    if is_better:
        progress.best_score, progress.best_step, progress.stale = score, progress.step, 0
        if accelerator.is_main_process:
            run.keep_best(objective.model.state_dict())
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
        run.note(line)
        tqdm.write(f"epoch {progress.epoch}: score {score:.4f}{' (best)' * is_better}", file=sys.stderr)
    return line


def _save(
    accelerator: Accelerator,
    run: RunFolder,
    objective: Objective,
    optimizer: Any,
    average: WeightAverage,
    progress: Progress,
    settings: Mapping[str, Any],
) -> None:
    """Write a checkpoint from which a run goes on exactly."""
    random = gather_object([random_state(accelerator.device)])
    if not accelerator.is_main_process:
        return
    scaler = {} if accelerator.scaler is None else accelerator.scaler.state_dict()
    rest = {
        "optimizer": optimizer.state_dict(),
        "random": random,
        "scaler": scaler,
        "average": average.weights,
    }
    run.save(objective.state_dict(), rest, progress, settings)


@contextlib.contextmanager
def _tracked(accelerator: Accelerator, config: TrainingConfig) -> Iterator[Callable]:
    """Lines of history for the trackers of the configuration."""
    if config.trackers:
        accelerator.init_trackers("multimodal_ser")
    try:
        yield lambda line: accelerator.log(line, step=line["step"])
    finally:
        for tracker in accelerator.trackers if config.trackers else ():
            tracker.finish()
