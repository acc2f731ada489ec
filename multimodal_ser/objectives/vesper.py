"""Vesper (Chen et al., IEEE TAFFC 2024): a compact emotional encoder from the blocks of a large one.

The student begins as a choice of the teacher's blocks, without its final norm. Small spans are hidden where
the first block begins, large ones where the second half of the blocks does. Three losses, each a mean
squared error through a predictor of its own: the middle layer tells the teacher's middle layer on small
spans (acoustic, 1.0), the last layer tells the teacher's last on large spans (semantic, 0.1) and its middle
layer on all frames (cross, 1.0). Targets are not normalised. A weight of 0 switches its loss off.

Departure: whole utterances, where the published code crops 5 s. Teacher states are computed on the fly
or kept, as the published code does: see teacher.py.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder, Encoding
from multimodal_ser.objectives.distillation import mean_over
from multimodal_ser.objectives.mask_statistics import measured
from multimodal_ser.objectives.masking import BandConfig, Masks, draw, frame_levels
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.teacher import Teacher

LOSSES = ("acoustic", "semantic", "cross")


@dataclass(frozen=True)
class VesperConfig:
    """Teacher, student, masks and weights; the defaults are the published ones."""

    teacher: str = ""  # a hub name, a checkpoint, or an encoder, model or run folder
    blocks: int = 4
    start: str = "uniform"  # which of the teacher's blocks the student's begin as: see models/students.py
    masks: BandConfig = field(default_factory=BandConfig)
    acoustic: float = 1.0
    semantic: float = 0.1
    cross: float = 1.0
    predictor: int = 512  # width between the two linear layers
    kept_states: str | None = None  # folder that keeps the teacher's states; None = computed every time

    def __post_init__(self) -> None:
        if self.blocks < 2 or self.blocks % 2:
            raise InputError(
                f"vesper.blocks = {self.blocks}: an even number, since large spans begin halfway"
            )
        weights = [getattr(self, name) for name in LOSSES]
        if min(weights) < 0 or not any(weights):
            raise InputError(
                "vesper: weights are not negative, and one of acoustic, semantic, cross is not 0"
            )


class Vesper(Objective):
    """Train a student on masked speech to say what its teacher says."""

    def __init__(
        self, model: AudioEncoder, teacher: AudioEncoder, config: VesperConfig, seed: int = 0
    ) -> None:
        super().__init__()
        if teacher.num_layers < 2:
            raise InputError("vesper: a teacher has 2 blocks or more; its middle layer is a target")
        self.model = model
        told = (teacher.num_layers // 2, teacher.num_layers)
        self.teacher = Teacher(teacher, told, config.kept_states)
        self.config = config
        self.seed = seed
        self.middle = config.blocks // 2
        self.predictors = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.LayerNorm(model.width, elementwise_affine=False),
                    nn.Linear(model.width, config.predictor),
                    nn.GELU(),
                    nn.Linear(config.predictor, teacher.width),
                )
                for name in LOSSES
                if getattr(config, name)
            }
        )
        model.network.masked_spec_embed.requires_grad_(True)

    def masks(self, batch: Batch) -> list[Masks]:
        """The spans of each utterance, from its id, the epoch and its own energy."""
        hop = round(self.model.sample_rate / self.model.frame_rate)
        counts = self.model.frame_lengths(batch.lengths).tolist()
        waveforms = batch.waveforms.float().cpu().numpy()
        levels = [
            frame_levels(waveforms[row, :length], count, hop)
            for row, (length, count) in enumerate(zip(batch.lengths.tolist(), counts, strict=True))
        ]
        return draw(levels, self.config.masks, [self.random_of(name) for name in batch.ids])

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        if batch.waveforms is None:
            raise InputError("vesper needs audio, and these utterances have none")
        features, counts = self.model.encode_front_end(batch.waveforms, batch.lengths)
        told = self.teacher(batch.waveforms, batch.lengths)
        return self.losses_from_features(features, counts, told, self.masks(batch))

    def losses_from_features(
        self, features: Tensor, counts: Tensor, told: Encoding, drawn: list[Masks]
    ) -> dict[str, Tensor]:
        """features: (B, T, F) of the front end, counts: (B,), told: what the teacher says of the clips."""
        small, large = (
            torch.stack([_padded(getattr(one, name).hidden, features.shape[1]) for one in drawn])
            for name in ("small", "large")
        )
        small, large = small.to(features.device), large.to(features.device)
        with self._hidden(0, small), self._hidden(self.middle, large):
            said = self.model.forward_from_front_end(features, counts)
        named = self.losses_from_encodings(said, told, small, large)
        counted = measured([one.small for one in drawn]) | measured([one.large for one in drawn], "large_")
        return named | {name: named["loss"].new_tensor(value) for name, value in counted.items()}

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return outputs

    def losses_from_encodings(
        self, said: Encoding, told: Encoding, small: Tensor, large: Tensor
    ) -> dict[str, Tensor]:
        """small, large: (B, T) bool, what is hidden."""
        targets = {
            "acoustic": (self.middle, self.teacher.encoder.num_layers // 2, small),
            "semantic": (-1, -1, large),
            "cross": (-1, self.teacher.encoder.num_layers // 2, said.mask),
        }
        named: dict[str, Tensor] = {}
        loss = said.layers[-1].new_zeros((), dtype=torch.float32)
        for name, predictor in self.predictors.items():
            own, other, frames = targets[name]
            errors = F.mse_loss(
                predictor(said.layers[own]).float(), told.layers[other].float(), reduction="none"
            )
            named[name] = mean_over(errors.mean(-1), frames & said.mask)
            loss = loss + getattr(self.config, name) * named[name]
        return {"loss": loss, **named}

    @contextlib.contextmanager
    def _hidden(self, block: int, hidden: Tensor) -> Iterator[None]:
        """Let the mask vector stand for frames (B, T) as they enter a block."""
        vector = self.model.network.masked_spec_embed

        def replace(_: nn.Module, given: tuple) -> tuple:
            states, *others = given
            return (torch.where(hidden[..., None], vector.to(states.dtype), states), *others)

        hook = self.model.network.encoder.layers[block].register_forward_pre_hook(replace)
        try:
            yield
        finally:
            hook.remove()


def without_final_norm(teacher: AudioEncoder) -> AudioEncoder:
    """The same teacher, whose last layer is the residual stream as it is, in pre-norm networks."""
    if teacher.network.config.do_stable_layer_norm:
        teacher.network.encoder.layer_norm = nn.Identity()
    return teacher


def _padded(hidden: NDArray[np.bool_], frames: int) -> Tensor:
    row = torch.zeros(frames, dtype=torch.bool)
    row[: len(hidden)] = torch.from_numpy(hidden)
    return row
