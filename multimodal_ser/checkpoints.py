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
        """Write a checkpoint and forget the older ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:08d}"
        with tempfile.TemporaryDirectory(
            dir=self.folder, prefix=".writing-", ignore_cleanup_errors=True
        ) as name:
            written = Path(name) / "checkpoint"
            written.mkdir()
            save_file(whole(checkpoint.weights), written / "weights.safetensors")
            torch.save(checkpoint.optimizer, written / "optimizer.pt")
            write_json(written / "state.json", checkpoint.state)
            for path in written.iterdir():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            if target.exists():
                shutil.rmtree(target)
            os.replace(written, target)
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(self.folder / f"step-{old:08d}", ignore_errors=True)
        for leftover in self.folder.glob(".writing-*"):  # of a run that was killed while writing
            shutil.rmtree(leftover, ignore_errors=True)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, or None."""
        steps = self._steps()
        if not steps:
            return None
        folder = self.folder / f"step-{steps[-1]:08d}"
        return Checkpoint(
            load_file(folder / "weights.safetensors"),
            torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True),
            json.loads((folder / "state.json").read_text(encoding="utf-8")),
        )

    def _steps(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(int(m[1]) for path in self.folder.iterdir() if (m := _NAME.fullmatch(path.name)))
        return []


def whole(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as safetensors wants them: on the CPU, contiguous, none sharing memory with another."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
