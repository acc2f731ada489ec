"""Masked prediction of frame pseudo-labels, as HuBERT is pretrained (Hsu et al., 2021).

Task-adaptive pretraining (TAPT) and frame-level emotional state alignment (Li et al., ICASSP 2024) are this
one objective with other labels: of a generic k-means, or of clusters of an encoder fine-tuned for emotion.
Spans of the input are hidden; cosines between projected frames and one vector per cluster, over 0.1, are
the logits; the cross-entropy counts hidden frames. The mean square of the front end's output is penalised,
unless it is frozen.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import Encoding, mask_from_lengths
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.mockingjay import MockingjayEncoder
from multimodal_ser.objectives.emotional_spans import hidden_frames
from multimodal_ser.objectives.objective import Objective


@dataclass(frozen=True)
class AlignmentConfig:
    """Settings of masked prediction; the defaults are the published ones."""

    clusters: int = 50
    projection: int = 256
    temperature: float = 0.1
    share: float = 0.8  # spans times their length, over the frames; they overlap, so fewer are hidden
    span: int = 10  # frames
    feature_penalty: float = 10.0
    unmasked: float = 0.0  # weight of the frames that are not hidden

    def __post_init__(self) -> None:
        if min(self.clusters, self.projection, self.span) < 1 or self.temperature <= 0:
            raise InputError(
                f"frame alignment: sizes are 1 or more, the temperature positive; received {self}"
            )
        if not 0 < self.share <= 1 or min(self.feature_penalty, self.unmasked) < 0:
            raise InputError(f"frame alignment: share in (0, 1], weights not negative; received {self}")


class FrameAlignment(Objective):
    """Train an encoder to tell the pseudo-labels of hidden frames."""

    def __init__(
        self, model: HubertEncoder | MockingjayEncoder, config: AlignmentConfig | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config or AlignmentConfig()
        self.seed = seed
        self.project = nn.Linear(model.width, self.config.projection)
        self.labels = nn.Parameter(torch.rand(self.config.clusters, self.config.projection))
        if isinstance(model, HubertEncoder):
            model.network.masked_spec_embed.requires_grad_(True)

    def hide(self, counts: Tensor, frames: int, ids: tuple[str, ...]) -> Tensor:
        """Hidden frames (B, frames) of utterances with `counts` (B,) valid ones."""
        rows = np.zeros((len(ids), frames), dtype=bool)
        span = self.config.span
        for row, (name, count) in enumerate(zip(ids, counts.tolist(), strict=True)):
            if count == 0:
                continue
            random = self.random_of(name)
            places = max(1, count - span + 1)
            wanted = max(1, int(self.config.share * count / span + random.random()))
            starts = random.choice(places, size=min(wanted, places), replace=False)
            rows[row, :count] = hidden_frames(starts, count, span)
        return torch.from_numpy(rows).to(counts.device)

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        if batch.waveforms is None or batch.frame_labels is None:
            raise InputError(
                "frame alignment needs audio and frame labels; `multimodal-ser pseudo_labels` writes those"
            )
        if isinstance(self.model, HubertEncoder):
            features, counts = self.model.encode_front_end(batch.waveforms, batch.lengths)
            penalised = features.float().square().mean() if features.requires_grad else features.new_zeros(())
        else:
            features, mask = self.model.features(batch.waveforms, batch.lengths)
            counts, penalised = mask.sum(1), features.new_zeros(())
        return self.losses_from_features(features, counts, batch.frame_labels, batch.ids, penalised)

    def losses(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return outputs

    def losses_from_features(
        self,
        features: Tensor,
        counts: Tensor,
        labels: Tensor,
        ids: tuple[str, ...],
        penalised: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """features: (B, T, F), counts: (B,) valid frames, labels: (B, T) from 0, -1 behind the end."""
        _check_labels(counts, labels, ids, self.config.clusters)
        hidden = self.hide(counts, features.shape[1], ids)
        encoding = self._encode(features, counts, hidden)
        labels = F.pad(labels, (0, features.shape[1] - labels.shape[1]), value=-1)
        logits = self.logits(encoding.layers[-1])
        masked = _cross_entropy(logits, labels, hidden)
        named = {"masked": masked}
        loss = masked
        if self.config.unmasked:
            named["unmasked"] = _cross_entropy(logits, labels, encoding.mask & ~hidden)
            loss = loss + self.config.unmasked * named["unmasked"]
        if penalised is not None:
            named["penalty"] = penalised
            loss = loss + self.config.feature_penalty * penalised
        right = (logits.argmax(-1) == labels) & hidden
        named["accuracy"] = right.sum() / hidden.sum().clamp(min=1)
        return {"loss": loss, **named, "masked_share": hidden.sum() / counts.sum().clamp(min=1)}

    def logits(self, states: Tensor) -> Tensor:
        """states: (B, T, D), result: (B, T, clusters)."""
        said = F.normalize(self.project(states).float(), dim=-1)
        return said @ F.normalize(self.labels.float(), dim=-1).T / self.config.temperature

    def _encode(self, features: Tensor, counts: Tensor, hidden: Tensor) -> Encoding:
        if isinstance(self.model, HubertEncoder):
            return self.model.forward_from_front_end(features, counts, hide=hidden)
        mask = mask_from_lengths(counts, features.shape[1])
        return self.model.forward_from_features(features.masked_fill(hidden[..., None], 0), mask)


def _check_labels(counts: Tensor, labels: Tensor, ids: tuple[str, ...], clusters: int) -> None:
    have = (labels >= 0).sum(1)
    if (wrong := (have != counts).nonzero()[:, 0].tolist()) != []:
        row = wrong[0]
        raise InputError(
            f"utterance '{ids[row]}' has {int(have[row])} labels, but the encoder gives {int(counts[row])} "
            "frames; the labels were made with an encoder of another frame rate, or the audio has changed"
        )
    if labels.numel() and int(labels.max()) >= clusters:
        raise InputError(
            f"frame label {int(labels.max())}, but there are {clusters} clusters, counted from 0"
        )


def _cross_entropy(logits: Tensor, labels: Tensor, frames: Tensor) -> Tensor:
    chosen = frames & (labels >= 0)
    if not chosen.any():
        return logits.sum() * 0
    return F.cross_entropy(logits[chosen], labels[chosen])
