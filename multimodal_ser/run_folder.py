"""What a training leaves in its run folder, to be read and to go on from.

`history.jsonl` has one line per validation, `checkpoints/best.safetensors` the weights of the best. A
checkpoint says with which settings it was made, and only the same settings go on from it.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from multimodal_ser.cache import atomic_path, write_text
from multimodal_ser.checkpoints import Checkpoint, Checkpoints, whole
from multimodal_ser.errors import InputError

UTTERANCES = "utterances"  # among the settings: a hash, which says nothing to a reader
_MAX_DIFFERENCES = 8  # listed in one error


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


class RunFolder:
    """The folder of one run."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.history = self.folder / "history.jsonl"
        self.best = self.folder / "checkpoints" / "best.safetensors"
        self.checkpoints = Checkpoints(self.folder / "checkpoints")

    def progress(self) -> Progress | None:
        """Where the run stands, or None if there is nothing to go on from."""
        state = self.checkpoints.latest_state()
        return None if state is None else Progress(**state["progress"])

    def refuse_other_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise if the run in this folder was made with other settings than these; parts may be left out."""
        state = self.checkpoints.latest_state()
        if state is None:
            return
        before, now = dict(_flat(state["settings"])), dict(_flat(_as_read(settings)))
        parts = tuple(f"{part}." for part in settings)
        names = sorted(now.keys() | {name for name in before if f"{name}.".startswith(parts)})
        changed = [
            "the training or development utterances are others, or said otherwise"
            if name == UTTERANCES
            else f"{name} was {before.get(name)!r} and is now {now.get(name)!r}"
            for name in names
            if before.get(name) != now.get(name)
        ]
        if changed:
            more = len(changed) - _MAX_DIFFERENCES
            rest = f"; and {more} more" if more > 0 else ""
            raise InputError(
                f"{self.folder} holds a run with other settings: "
                f"{'; '.join(changed[:_MAX_DIFFERENCES])}{rest}. "
                "Choose another folder, set them back, or start over with --restart"
            )

    def begin(self, progress: Progress) -> None:
        """Take away what comes after `progress`: it will be written again."""
        written = self.history.read_text(encoding="utf-8") if self.history.exists() else None
        lines = [] if written is None else written.splitlines(keepends=True)
        # By epoch, not by step: a checkpoint may lie between the last step of an epoch and its line.
        kept = [x for x in lines if x.endswith("\n") and json.loads(x)["epoch"] <= progress.epoch]
        if (text := "".join(kept)) != written:
            write_text(self.history, text)
        self.checkpoints.tidy()
        for leftover in self.best.parent.glob(f".{self.best.stem}.*"):
            leftover.unlink()
        if progress.best_score is None:
            self.best.unlink(missing_ok=True)

    def note(self, line: Mapping[str, Any]) -> None:
        """Write a line of history; what is undefined is null."""
        values = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in line.items()
        }
        with self.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, allow_nan=False) + "\n")

    def keep_best(self, weights: dict[str, Tensor]) -> None:
        """Write the weights of the best model so far."""
        with atomic_path(self.best) as path:
            save_file(whole(weights), path, {"format": "pt"})

    def best_weights(self) -> dict[str, Tensor]:
        """The weights of the best model."""
        return load_file(self.best)

    def save(
        self, weights: dict[str, Tensor], rest: dict[str, Any], progress: Progress, settings: Any
    ) -> None:
        """Write a checkpoint; rest: state of the optimiser and everything else of tensors and numbers."""
        state = {"settings": _as_read(settings), "progress": asdict(progress)}
        self.checkpoints.save(progress.step, Checkpoint(weights, rest, state))

    def forget(self) -> None:
        """Remove checkpoints and model, so that a run starts over."""
        for name in ("checkpoints", "model"):
            if (self.folder / name).exists():
                shutil.rmtree(self.folder / name)


def _as_read(settings: Any) -> Any:
    """Settings as JSON gives them back: with lists for tuples."""
    return json.loads(json.dumps(settings))


def _flat(settings: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and their values."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    else:
        yield name, settings
