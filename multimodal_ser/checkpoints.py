"""Training checkpoints: a folder per step, written whole or not at all, the newest two kept.

Each holds `weights.safetensors`, `optimizer.pt` (tensors and numbers only; read without unpickling code) and
`state.json`.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from multimodal_ser.cache import write_json

KEPT = 2
_NAME = re.compile(r"step-(\d+)")
_UNFINISHED, _DOOMED = ".writing-", ".removing-"
_STATE = "state.json"


class Checkpoint(NamedTuple):
    """Everything that a run needs to go on."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, in place of one of the same step, and forget the older ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self._of(step)
        written = Path(tempfile.mkdtemp(dir=self.folder, prefix=_UNFINISHED)) / target.name
        written.mkdir()
        save_file(whole(checkpoint.weights), written / "weights.safetensors")
        torch.save(checkpoint.optimizer, written / "optimizer.pt")
        write_json(written / _STATE, checkpoint.state)
        for path in written.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        self._remove(target)
        os.replace(written, target)
        for old in self._steps()[:-KEPT]:
            self._remove(self._of(old))
        self.tidy()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, or None."""
        steps = self._steps()
        if not steps:
            return None
        folder = self._of(steps[-1])
        return Checkpoint(
            load_file(folder / "weights.safetensors"),
            torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True),
            _read_state(folder),
        )

    def latest_state(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint, without its weights."""
        steps = self._steps()
        return _read_state(self._of(steps[-1])) if steps else None

    def tidy(self) -> None:
        """Remove what a run left behind that was killed while writing or removing."""
        for prefix in (_UNFINISHED, _DOOMED):
            for leftover in self.folder.glob(f"{prefix}*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Take a checkpoint away at once: a folder half removed must not look like a checkpoint."""
        if folder.exists():
            doomed = Path(tempfile.mkdtemp(dir=self.folder, prefix=_DOOMED))
            os.replace(folder, doomed / folder.name)
            shutil.rmtree(doomed, ignore_errors=True)

    def _of(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def _steps(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(int(m[1]) for path in self.folder.iterdir() if (m := _NAME.fullmatch(path.name)))
        return []


def whole(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as safetensors wants them: on the CPU, contiguous, none sharing memory with another."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}


def _read_state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / _STATE).read_text(encoding="utf-8"))
