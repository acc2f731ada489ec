"""Distillation: a small encoder learns what the layers of a large one say (DistilHuBERT, arXiv 2110.01900).

Each chosen layer of the teacher has a prediction head on the student's last layer. Per frame the loss is
the mean absolute error minus the logarithm of the sigmoid of the cosine, averaged over valid frames and
summed over heads. Two options pair layers of student and teacher: squared error of projected features, and
the divergence of their attention maps. A student of another frame rate, such as one on log-mel bands, is
told the teacher's states at its own frames.

No layer is normalised. Teacher states are computed on the fly or kept: see teacher.py.
"""

import contextlib
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder, Encoding
from multimodal_ser.models.students import StudentConfig
from multimodal_ser.objectives.attention_maps import divergence, log_map, noted
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.teacher import Teacher, at_frames


@dataclass(frozen=True)
class DistillationConfig:
    """Teacher, student and the parts of the loss."""

    teacher: str = ""  # a hub name, a checkpoint, or an encoder, model or run folder
    student: StudentConfig = field(default_factory=StudentConfig)  # unless model.audio names an untrained one
    layers: tuple[int, ...] = (4, 8, 12)  # of the teacher, 0 is below its blocks; each has a head
    cosine: float = 1.0
    pairs: tuple[tuple[int, int], ...] = ()  # (student layer, teacher layer) of the two options below
    features: float = 0.0
    attention: float = 0.0
    kept_states: str | None = None  # folder that keeps the teacher's states; None = computed every time

    def __post_init__(self) -> None:
        if not self.layers and not self.pairs:
            raise InputError("distillation: neither layers nor pairs are named, so there is nothing to learn")
        if min(self.cosine, self.features, self.attention) < 0:
            raise InputError("distillation: weights are not negative")
        if bool(self.pairs) != bool(self.features or self.attention):
            raise InputError(
                "distillation: pairs belong to the weights features and attention; set both or neither"
            )
        if self.kept_states and self.attention:
            raise InputError(
                "distillation: kept_states and attention: attention maps are not kept; leave one of them out"
            )


class Distillation(Objective):
    """Train an encoder to say what a teacher says."""

    def __init__(self, model: AudioEncoder, teacher: AudioEncoder, config: DistillationConfig) -> None:
        super().__init__()
        _check_layers(model, teacher, config)
        self.model = model
        self.config = config
        wanted = (*config.layers, *(told for _, told in config.pairs))
        self.teacher = Teacher(teacher, wanted, config.kept_states)
        self.heads = nn.ModuleDict(
            {
                str(layer): nn.Sequential(
                    nn.Linear(model.width, model.width), nn.GELU(), nn.Linear(model.width, teacher.width)
                )
                for layer in config.layers
            }
        )
        pairs = config.pairs if config.features else ()
        self.projections = nn.ModuleDict(
            {f"{said}_{told}": nn.Linear(model.width, teacher.width) for said, told in pairs}
        )

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        if batch.waveforms is None:
            raise InputError("distillation needs audio, and these utterances have none")
        pairs = self.config.pairs if self.config.attention else ()
        with contextlib.ExitStack() as stack:
            told_maps = stack.enter_context(noted(self.teacher.encoder, [told for _, told in pairs]))
            said_maps = stack.enter_context(noted(self.model, [said for said, _ in pairs]))
            told = self.teacher(batch.waveforms, batch.lengths)
            said = self.model(batch.waveforms, batch.lengths)
        named = self.losses_from_encodings(said, told)
        for own, other in pairs:
            maps = (
                log_map(self.teacher.encoder, other, told_maps, told.mask),
                log_map(self.model, own, said_maps, said.mask),
            )
            named[f"attention_{own}_{other}"] = divergence(*maps, said.mask)
            named["loss"] = named["loss"] + self.config.attention * named[f"attention_{own}_{other}"]
        return named

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return outputs

    def losses_from_encodings(self, said: Encoding, told: Encoding) -> dict[str, Tensor]:
        """Losses of the heads and of the paired features."""
        frames = said.layers[-1].shape[1]
        named: dict[str, Tensor] = {}
        loss = said.layers[-1].new_zeros((), dtype=torch.float32)
        for layer in self.config.layers:
            target = at_frames(told, layer, frames, said.frame_rate).float()
            guess = self.heads[str(layer)](said.layers[-1]).float()
            named[f"absolute_{layer}"] = mean_over((guess - target).abs().mean(-1), said.mask)
            named[f"cosine_{layer}"] = mean_over(cosine_loss(guess, target), said.mask)
            loss = loss + named[f"absolute_{layer}"] + self.config.cosine * named[f"cosine_{layer}"]
        for own, other in self.config.pairs if self.config.features else ():
            target = at_frames(told, other, frames, said.frame_rate).float()
            guess = self.projections[f"{own}_{other}"](said.layers[own]).float()
            named[f"feature_{own}_{other}"] = mean_over((guess - target).square().mean(-1), said.mask)
            loss = loss + self.config.features * named[f"feature_{own}_{other}"]
        return {"loss": loss, **named}


def cosine_loss(said: Tensor, told: Tensor) -> Tensor:
    """-log sigmoid of the cosine of (B, T, D), per frame (B, T)."""
    return -F.logsigmoid(F.cosine_similarity(said, told, dim=-1))


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, T) where the mask (B, T) is True; 0 if it is nowhere."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def _check_layers(model: AudioEncoder, teacher: AudioEncoder, config: DistillationConfig) -> None:
    for layer in (*config.layers, *(told for _, told in config.pairs)):
        if not 0 <= layer <= teacher.num_layers:
            raise InputError(
                f"distillation: layer {layer} of the teacher; it has layers 0 to {teacher.num_layers}"
            )
    for layer, _ in config.pairs:
        if not 0 <= layer <= model.num_layers:
            raise InputError(
                f"distillation: layer {layer} of the student; it has layers 0 to {model.num_layers}"
            )
    if config.attention and model.frame_rate != teacher.frame_rate:
        raise InputError(
            f"distillation.attention: the student has {model.frame_rate:g} frames a second, the teacher "
            f"{teacher.frame_rate:g}; attention maps are compared frame by frame"
        )
