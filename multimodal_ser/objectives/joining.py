"""Joining: a model that hears and reads learns from models that only hear and one that only reads.

For where no corpus has sound, words and labels together. The utterances are sounds and texts put side by
side, in any combination. The audio reading learns the mean of the audio teachers, or where there are none the
labels of the utterances, which are then those of the sound; the text reading learns the text teacher; the
fused reading a weighted mean of both, whose weights are a decision and no measurement: `audio_share`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from multimodal_ser import metrics
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, nearest
from multimodal_ser.losses import concordance_loss, squared_error
from multimodal_ser.models.ser import READINGS, SerModel
from multimodal_ser.objectives.objective import Gather, Objective


@dataclass(frozen=True)
class JoiningConfig:
    """Who teaches, and how much of the fused reading is heard."""

    audio_teachers: tuple[str, ...] = ()  # run or model folders; none = the labels of the utterances
    text_teacher: str = ""
    audio_share: dict[str, float] = field(
        default_factory=lambda: {"arousal": 0.7, "valence": 0.15, "dominance": 0.4}
    )
    squared_error: float = 5.0  # weight beside 1 - CCC, which is taken once for each reading

    def __post_init__(self) -> None:
        object.__setattr__(self, "audio_teachers", tuple(self.audio_teachers))
        for name, share in self.audio_share.items():
            if name not in DIMENSIONS:
                hint = nearest(name, list(DIMENSIONS))
                raise InputError(f"joining.audio_share: '{name}'{hint}; known: {', '.join(DIMENSIONS)}")
            if not 0 <= share <= 1:
                raise InputError(f"joining.audio_share.{name} = {share}: a share from 0 to 1")
        if missing := [name for name in DIMENSIONS if name not in self.audio_share]:
            raise InputError(f"joining.audio_share: {missing[0]} is missing")


class Joining(Objective):
    """Train a `SerModel` with both branches on what models of one branch say."""

    whole_batch = True

    def __init__(
        self, model: SerModel, config: JoiningConfig, audio: Sequence[SerModel], text: SerModel
    ) -> None:
        super().__init__()
        if model.readings != READINGS:
            raise InputError(f"joining needs a fusion of audio and text, not '{model.config.fusion}'")
        for teacher, branch in (*((one, "audio") for one in audio), (text, "text")):
            if teacher.readings != (branch,):
                raise InputError(
                    f"joining: a teacher for {branch} has the readings {', '.join(teacher.readings)}; it has "
                    f"to be a model with fusion '{branch}'"
                )
        if text.text.tokenizer.get_vocab() != model.text.tokenizer.get_vocab():
            raise InputError(
                "joining: model.text and the text teacher have other vocabularies; set model.text.encoder to "
                "the folder of the text teacher"
            )
        self.model = model
        self.config = config
        # In a tuple, so that they are no part of the state that is trained and saved.
        self.teachers = (tuple(one.eval().requires_grad_(False) for one in (*audio, text)),)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        given = (batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask)
        encoded = self.model.encode(*given)
        rows = {f"{name}_told": said for name, said in self.told(batch).items()}
        return {**rows, **{name: self.model.read(encoded, name).dimensions.float() for name in READINGS}}

    @torch.no_grad()
    def told(self, batch: Batch) -> dict[str, Tensor]:
        """What each reading is to say, (B, 3)."""
        given = (batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask)
        *hearing, reader = (teacher.to(batch.targets.device) for teacher in self.teachers[0])
        audio = batch.targets
        if hearing:
            audio = torch.stack([teacher(*given).dimensions.float() for teacher in hearing]).mean(0)
        text = reader(*given).dimensions.float()
        share = audio.new_tensor([self.config.audio_share[name] for name in DIMENSIONS])
        return {"fused": share * audio + (1 - share) * text, "audio": audio, "text": text}

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        named = {}
        loss = outputs["fused"].new_zeros(())
        for name in READINGS:
            said, told = outputs[name], outputs[f"{name}_told"]
            named[f"{name}_concordance"] = concordance_loss(said, told)
            loss = loss + named[f"{name}_concordance"] + self.config.squared_error * squared_error(said, told)
        return {"loss": loss, **named}

    @torch.inference_mode()
    def validate(self, batches: Iterable[Batch], gather: Gather) -> dict[str, float]:
        """CCC with the teachers per reading and dimension; the score is the mean of all."""
        parts = [self.outputs(batch) for batch in batches]
        rows = {name: gather(torch.cat([part[name] for part in parts])).cpu().numpy() for name in parts[0]}
        found = {}
        for name in READINGS:
            for column, dimension in enumerate(DIMENSIONS):
                said, told = rows[name][:, column], rows[f"{name}_told"][:, column]
                known = ~np.isnan(told)
                if known.sum() >= 2:
                    found[f"{name}_{dimension}"] = metrics.ccc(said[known], told[known])
        return {**found, "score": float(np.mean(list(found.values())))}
