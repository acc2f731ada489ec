"""Task distillation: a small model learns what a trained one says, without labels (Wav2Small, 2408.13920).

The teacher's audio reading takes the place of the labels, in the loss and in the score. A teacher that also
reads is only heard, since the student's tokens are not its own.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.ser import SerModel
from multimodal_ser.objectives.supervised import Supervised, SupervisedConfig


@dataclass(frozen=True)
class TaskDistillationConfig:
    """Who teaches."""

    teacher: str = ""  # a run or model folder
    kept_states: bool = False  # ask the teacher once about each recording, not every time


class TaskDistillation(Supervised):
    """Train a `SerModel` on the outputs of another."""

    def __init__(
        self, model: SerModel, config: SupervisedConfig, teacher: SerModel, keeps: bool = False
    ) -> None:
        """keeps: remember what the teacher said of an id; only right where its sound stays the same."""
        super().__init__(model, config)
        self._said: dict[str, tuple[Tensor, Tensor]] | None = {} if keeps else None
        if "audio" not in teacher.readings:
            raise InputError("task distillation: the teacher reads text only, so it cannot be heard")
        classes = model.config.classes
        if classes and classes != teacher.config.classes:
            raise InputError(
                f"task distillation: the student's classes are {', '.join(classes)}, the teacher's "
                f"{', '.join(teacher.config.classes) or 'none'}; they must be the same"
            )
        # In a tuple, so that it is no part of the state that is trained and saved.
        self.teacher = (teacher.eval().requires_grad_(False),)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        dimensions, shares = self.told(batch)
        return super().outputs(batch._replace(targets=dimensions, class_shares=shares))

    def told(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Dimensions (B, 3) and class shares (B, C) from the teacher."""
        if self._said is None:
            return self._asked(batch)
        if any(name not in self._said for name in batch.ids):
            self._said.update(zip(batch.ids, zip(*self._asked(batch), strict=True), strict=True))
        dimensions, shares = zip(*(self._said[name] for name in batch.ids), strict=True)
        return torch.stack(dimensions), torch.stack(shares)

    @torch.no_grad()
    def _asked(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if batch.waveforms is None:
            raise InputError("task distillation needs audio, and these utterances have none")
        teacher = self.teacher[0].to(batch.waveforms.device)
        ids = mask = None
        if teacher.text is not None:
            ids, mask = (x.to(batch.waveforms.device) for x in teacher.text.tokenize([""] * batch.size))
        said = teacher.read(teacher.encode(batch.waveforms, batch.lengths, ids, mask), "audio")
        shares = batch.class_shares
        if self.model.config.classes:
            shares = said.logits.float().softmax(1)
        return said.dimensions.float(), shares
