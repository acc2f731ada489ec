"""Pretraining by reconstruction: MockingJay with hidden spans, NPC with its masked convolutions.

Both take the intensity of the emotion as further input, added to every feature of its frame, and as further
target (Liu & Ma, Interspeech 2024). MockingJay: L1 of features and of intensity on the hidden frames, equal
weights; the intensity is corrupted with the spectrum. NPC: L1 of the features, and of features plus
intensity, on all valid frames.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.mockingjay import MockingjayEncoder
from multimodal_ser.models.npc import NpcEncoder, Quantiser
from multimodal_ser.objectives import emotional_spans as spans
from multimodal_ser.objectives.intensity import Source, at_times, frame_times
from multimodal_ser.objectives.mask_statistics import Drawn, measured
from multimodal_ser.objectives.objective import Objective


@dataclass(frozen=True)
class Hidden:
    """What is hidden of a batch."""

    origin: Tensor  # (B, T) the frame that stands in for each frame, -1 = zeros
    chosen: Tensor  # (B, T) bool, the frames of the loss
    drawn: list[Drawn]


class Reconstruction(Objective):
    """What both networks share: features and intensity of a batch."""

    def __init__(self, model: MockingjayEncoder | NpcEncoder, source: Source | None) -> None:
        super().__init__()
        self.model = model
        self.source = source

    def intensity(self, batch: Batch, frames: int) -> Tensor | None:
        """Intensity (B, frames) at the frames of the network; None without a source."""
        if self.source is None:
            return None
        counts = self.model.frame_lengths(batch.lengths).tolist()
        values = np.zeros((batch.size, frames), dtype=np.float32)
        waveforms = batch.waveforms.float().cpu().numpy()
        for row, (length, count) in enumerate(zip(batch.lengths.tolist(), counts, strict=True)):
            curve = self.source(waveforms[row, :length])
            values[row, :count] = at_times(curve, frame_times(count, self.model.config.stack))
        return torch.from_numpy(values).to(batch.waveforms.device)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        if batch.waveforms is None:
            raise InputError("reconstruction needs audio, and these utterances have none")
        features, mask = self.model.features(batch.waveforms, batch.lengths)
        intensity = self.intensity(batch, features.shape[1])
        return self.losses_from_features(features, mask, intensity, batch.ids)

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return outputs

    def losses_from_features(
        self, features: Tensor, mask: Tensor, intensity: Tensor | None, ids: tuple[str, ...]
    ) -> dict[str, Tensor]:
        """features: (B, T, F), mask: (B, T), intensity: (B, T) or None."""
        raise NotImplementedError


class MaskedReconstruction(Reconstruction):
    """MockingJay: what was hidden is told from what was not."""

    def __init__(
        self,
        model: MockingjayEncoder,
        source: Source | None = None,
        config: spans.SpanConfig | None = None,
        seed: int = 0,
        use_intensity: bool = True,
    ) -> None:
        """use_intensity: intensity as input and target; without it, it only chooses the spans."""
        super().__init__(model, source)
        self.config = config or spans.SpanConfig()
        if source is None and self.config.policy != "random":
            raise InputError(
                f"the policy '{self.config.policy}' needs a source of intensity; random does not"
            )
        self.seed = seed
        self.use_intensity = use_intensity and source is not None
        outputs = model.features.width
        self.tell = nn.Sequential(
            nn.Linear(model.width, model.width),
            nn.GELU(),
            nn.LayerNorm(model.width),
            nn.Linear(model.width, outputs),
        )
        self.tell_intensity = nn.Linear(model.width, 1) if self.use_intensity else None

    def hide(self, mask: Tensor, intensity: Tensor | None, ids: tuple[str, ...]) -> Hidden:
        """The spans of each utterance, from its id, the epoch and its own intensity."""
        rows, frames = mask.shape
        origin = np.tile(np.arange(frames), (rows, 1))
        chosen = np.zeros((rows, frames), dtype=bool)
        counts, drawn = mask.sum(1).tolist(), []
        values = None if intensity is None else intensity.double().cpu().numpy()
        for row, (name, count) in enumerate(zip(ids, counts, strict=True)):
            random = self.random_of(name)
            own = np.zeros(count) if values is None else values[row, :count]
            starts = spans.span_starts(own, self.config, random)
            action = spans.corruption(self.config, random)
            drawn.append(Drawn(starts, self.config.span, count, spans.in_band(starts, own, self.config.span)))
            chosen[row, :count] = drawn[-1].hidden
            origin[row, :count] = spans.sources(starts, count, self.config.span, action, random)
        placed = (torch.from_numpy(x).to(mask.device) for x in (origin, chosen))
        return Hidden(*placed, drawn)

    def losses_from_features(
        self, features: Tensor, mask: Tensor, intensity: Tensor | None, ids: tuple[str, ...]
    ) -> dict[str, Tensor]:
        hidden = self.hide(mask, intensity, ids)
        given = None
        if self.use_intensity:
            given = corrupted(intensity[..., None], hidden.origin)[..., 0]
        encoding = self.model.forward_from_features(corrupted(features, hidden.origin), mask, given)
        states = encoding.layers[-1]
        named = {"spectrum": absolute_error(self.tell(states), features, hidden.chosen)}
        if self.use_intensity:
            said = self.tell_intensity(states)
            named["intensity"] = absolute_error(said, intensity[..., None], hidden.chosen)
        loss = sum(named.values())
        counted = {name: loss.new_tensor(value) for name, value in measured(hidden.drawn).items()}
        return {"loss": loss, **named, **counted}


class PredictiveCoding(Reconstruction):
    """NPC: each frame is told from the frames around it, through a vector quantiser."""

    def __init__(self, model: NpcEncoder, source: Source | None = None) -> None:
        super().__init__(model, source)
        config = model.config
        self.quantiser = Quantiser(
            config.width, config.groups, config.codes, config.code_width, config.temperature
        )
        inputs = config.groups * config.code_width
        self.tell = nn.Linear(inputs, model.features.width)
        self.tell_both = nn.Linear(inputs, model.features.width) if source is not None else None

    def losses_from_features(
        self, features: Tensor, mask: Tensor, intensity: Tensor | None, ids: tuple[str, ...]
    ) -> dict[str, Tensor]:
        states = self.model.forward_from_features(features, mask, intensity).layers[-1]
        codes = self.quantiser(states)
        named = {"spectrum": absolute_error(self.tell(codes), features, mask)}
        if self.tell_both is not None:
            both = features + intensity[..., None]
            named["with_intensity"] = absolute_error(self.tell_both(codes), both, mask)
        return {"loss": sum(named.values()), **named}


def corrupted(x: Tensor, origin: Tensor) -> Tensor:
    """x: (B, T, F) with each frame replaced by that which `origin` (B, T) names; -1 gives zeros."""
    taken = x.gather(1, origin.clamp(min=0)[..., None].expand_as(x))
    return taken * (origin >= 0)[..., None]


def absolute_error(said: Tensor, target: Tensor, frames: Tensor) -> Tensor:
    """Mean |said - target| (B, T, F) over the True frames (B, T); 0 if there is none."""
    errors = (said - target).abs().mean(-1) * frames
    return errors.sum() / frames.sum().clamp(min=1)
