"""HuBERT, DistilHuBERT, wav2vec 2.0 and WavLM checkpoints as audio encoders that do not feel padding.

Checkpoints in the layout of transformers (hub name or local folder, `ntu-spml/distilhubert` by default) are
read and written, but the networks are our own (`wav2vec`). transformers takes longer to import than a short
clip takes to score, and its pass lets padding change a clip: where the first convolution is followed by a
group norm (all base models, DistilHuBERT), mean and variance are taken over the padded time axis, and an
attention mask does not help. Here
- the waveform is normalised over its valid samples, if the checkpoint asks for that, and zero behind them;
- group-norm statistics cover valid frames only;
- frames behind the end are zero before the positional convolution, and nobody attends to them.
So a clip in a padded batch equals the clip alone up to rounding, and both equal what transformers gives for
the clip alone.

Departures: no block is ever dropped at random (layer drop), since every layer is an output here; SpecAugment
is off unless asked for, and then the spans of a clip do not depend on its batch mates; a batch norm before
the positional convolution (mHuBERT-147) always uses its running statistics. `layers[-1]` of a full pass is
the encoder's output: in pre-norm models (the large ones) it is behind the final layer norm, earlier layers
are the residual stream as it is.

A clip that is shorter than the receptive field (400 samples, 25 ms) counts as padded with zeros to that
length and has one frame; an empty clip has none. Shapes: B clips, S samples, T frames, D width.
Papers: arXiv 2106.07447 (HuBERT), 2110.01900 (DistilHuBERT), 2006.11477 (wav2vec 2.0), 2110.13900 (WavLM).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from multimodal_ser.models.encoding import AudioEncoder, Encoding, load_strictly, mask_from_lengths
from multimodal_ser.models.hubert_pretrained import (
    MASK_VECTOR,
    SAMPLE_RATE,
    read_checkpoint,
    wants_normalised_input,
    write_checkpoint,
)
from multimodal_ser.models.pretrained import find_pretrained
from multimodal_ser.models.wav2vec import Attention, GatedAttention, Wav2Vec
from multimodal_ser.models.wav2vec_config import Wav2VecConfig

DEFAULT_CHECKPOINT = "ntu-spml/distilhubert"
NORMALISATION_FLOOR = 1e-7  # added to the variance of a waveform, as in transformers


@dataclass(frozen=True)
class HubertEncoderConfig:
    """What `HubertEncoder` is made from."""

    network: dict[str, Any] = field(hash=False)  # the content of a checkpoint's config.json
    normalise_input: bool  # zero mean and unit variance per clip: the checkpoint's `do_normalize`
    frozen_front_end: bool = True  # the convolutions take no gradient
    spec_augment: bool = False  # mask spans in training, by the network's own `mask_*` settings
    final_norm: bool = True  # the norm behind the last block of pre-norm networks; Vesper has none


class HubertEncoder(AudioEncoder):
    """One of the four families, every layer out."""

    config: HubertEncoderConfig
    sample_rate = SAMPLE_RATE

    def __init__(self, config: HubertEncoderConfig) -> None:
        super().__init__()
        settings = Wav2VecConfig.from_settings(config.network)
        self.network = Wav2Vec(settings)
        if not config.final_norm and settings.do_stable_layer_norm:
            self.network.encoder.layer_norm = nn.Identity()
        self.config = replace(config, network=settings.to_dict())
        self.width = settings.hidden_size
        self.num_layers = settings.num_hidden_layers
        self.frame_rate = SAMPLE_RATE / math.prod(settings.conv_stride)
        self.shortest = _receptive_field(zip(settings.conv_kernel, settings.conv_stride, strict=True))
        if config.frozen_front_end:
            self.freeze_front_end()
        if not config.spec_augment and hasattr(self.network, MASK_VECTOR):
            # Nothing uses it, and several processes wait for the gradient of every trainable weight.
            self.network.masked_spec_embed.requires_grad_(False)

    @classmethod
    def from_config(cls, config: HubertEncoderConfig | Mapping[str, Any]) -> "HubertEncoder":
        """Random weights at the sizes of `config` (or of its fields, as read from JSON)."""
        return cls(config if isinstance(config, HubertEncoderConfig) else HubertEncoderConfig(**config))

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str = DEFAULT_CHECKPOINT,
        *,
        keep_layers: int | None = None,
        normalise_input: bool | None = None,
        frozen_front_end: bool = True,
        spec_augment: bool = False,
        revision: str | None = None,
    ) -> "HubertEncoder":
        """Load a checkpoint; any weight that is missing or left over is an error, heads aside.

        keep_layers: drop the blocks behind these for good, as audEERING did (12 of 24).
        normalise_input: overrides `preprocessor_config.json`, and is needed where there is none.
        """
        folder = find_pretrained(str(name_or_folder), revision)
        settings, weights = read_checkpoint(folder, keep_layers, needs_mask_vector=spec_augment)
        if normalise_input is None:
            normalise_input = wants_normalised_input(folder)
        encoder = cls(HubertEncoderConfig(settings, normalise_input, frozen_front_end, spec_augment))
        load_strictly(encoder.network, weights, f"the weights in {folder}")
        return encoder

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint folder that transformers can load as well."""
        write_checkpoint(Path(folder), self.network, self.config.normalise_input)

    def freeze_front_end(self) -> None:
        self.network.feature_extractor.requires_grad_(False)
        self.config = replace(self.config, frozen_front_end=True)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        lengths = self._heard_lengths(lengths)
        for layer in self.network.feature_extractor.conv_layers:
            lengths = layer.frames(lengths)
        return lengths

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        return self.forward_from_front_end(*self.encode_front_end(waveforms, lengths), last_layer)

    def encode_front_end(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The output of the convolutions (B, T, channels) and its valid frames (B,).

        Frozen, it depends on the clip alone and may be kept: half precision takes 51 kB per second.
        """
        kept = waveforms.requires_grad or not self.config.frozen_front_end
        with torch.set_grad_enabled(torch.is_grad_enabled() and kept):
            signal = self._prepare(waveforms, lengths)
            return self.network.feature_extractor(signal, self._heard_lengths(lengths))

    def attention(self, block: int) -> Attention:
        return self.network.encoder.layers[block - 1].attention

    def forward_from_front_end(
        self,
        features: Tensor,
        frame_lengths: Tensor,
        last_layer: int | None = None,
        hide: Tensor | None = None,
    ) -> Encoding:
        """The rest of `forward`, from what `encode_front_end` returned.

        hide: (B, T) bool, frames that the mask vector replaces, for masked prediction.
        """
        count = self.blocks_to_run(last_layer)
        encoder = self.network.encoder
        mask = mask_from_lengths(frame_lengths, features.shape[1])
        hidden = self.network.feature_projection(features)
        if hide is not None:
            vector = self.network.masked_spec_embed.to(hidden.dtype)
            hidden = torch.where(hide[..., None], vector, hidden)
        hidden = self._mask_spans(hidden, frame_lengths).masked_fill(~mask[..., None], 0)
        hidden = hidden + encoder.pos_conv_embed(hidden, mask)
        if not self._pre_norm:
            hidden = encoder.layer_norm(hidden)
        layers = self._run_blocks(encoder.dropout(hidden), mask, count)
        if self._pre_norm and count == self.num_layers:
            layers[-1] = encoder.layer_norm(layers[-1])
        return Encoding(tuple(layers), mask, self.frame_rate)

    def _run_blocks(self, hidden: Tensor, mask: Tensor, count: int) -> list[Tensor]:
        layers = [hidden]
        # A clip without a valid frame attends everywhere: its output means nothing, but must not be NaN.
        heard = mask | ~mask.any(1, keepdim=True)
        blocks = self.network.encoder.layers[:count]
        places = None
        if count and isinstance(blocks[0].attention, GatedAttention):
            places = blocks[0].attention.places(hidden.shape[1])
        for block in blocks:
            layers.append(block(layers[-1], heard, places))
        return layers

    @property
    def _pre_norm(self) -> bool:
        return self.network.config.do_stable_layer_norm

    def _heard_lengths(self, lengths: Tensor) -> Tensor:
        """Samples that the convolutions see of each clip: short clips are extended by silence."""
        return torch.where(lengths > 0, lengths.clamp(min=self.shortest), lengths)

    def _prepare(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Normalise if wanted, silence behind the end, make room for one frame."""
        if waveforms.shape[1] < self.shortest:
            waveforms = F.pad(waveforms, (0, self.shortest - waveforms.shape[1]))
        padding = ~mask_from_lengths(lengths, waveforms.shape[1])
        waveforms = waveforms.masked_fill(padding, 0)
        if self.config.normalise_input:
            count = lengths.clamp(min=1)[:, None]
            waveforms = waveforms - waveforms.sum(1, keepdim=True) / count
            waveforms = waveforms.masked_fill(padding, 0)
            variance = waveforms.square().sum(1, keepdim=True) / count
            waveforms = waveforms / torch.sqrt(variance + NORMALISATION_FLOOR)
        return waveforms

    def _mask_spans(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """SpecAugment on projected features (B, T, D)."""
        settings = self.network.config
        if not (self.training and self.config.spec_augment):
            return hidden
        if settings.mask_time_prob > 0:
            masked = draw_spans(
                lengths, hidden.shape[1], settings.mask_time_prob, settings.mask_time_length,
                settings.mask_time_min_masks,
            )  # fmt: skip
            vector = self.network.masked_spec_embed.to(hidden.dtype)
            hidden = torch.where(masked[..., None], vector, hidden)
        if settings.mask_feature_prob > 0:
            masked = draw_spans(
                torch.full_like(lengths, self.width), self.width, settings.mask_feature_prob,
                settings.mask_feature_length, settings.mask_feature_min_masks,
            )  # fmt: skip
            hidden = hidden.masked_fill(masked[:, None, :], 0)
        return hidden


def draw_spans(lengths: Tensor, size: int, probability: float, span: int, min_spans: int = 0) -> Tensor:
    """Random spans (B, size) bool within the first `lengths[b]` places of each row.

    Row b gets about `probability * lengths[b] / span` spans (randomly rounded), at least `min_spans`, at
    most as many as there are places to start; starts differ, spans may overlap.
    """
    starts = (lengths - span + 1).clamp(min=0)
    rounding = torch.rand(lengths.shape, device=lengths.device)
    wanted = (probability * lengths / span + rounding).long().clamp(min=min_spans).minimum(starts)
    scores = torch.rand(len(lengths), size, device=lengths.device)
    scores = scores.masked_fill(~mask_from_lengths(starts, size), -1.0)
    rank = scores.argsort(dim=1, descending=True).argsort(dim=1)
    begins = (rank < wanted[:, None]).float()
    return F.max_pool1d(F.pad(begins[:, None], (span - 1, 0)), span, stride=1)[:, 0].bool()


def _receptive_field(convolutions: Iterable[tuple[int, int]]) -> int:
    samples = 1
    for kernel, stride in reversed(list(convolutions)):
        samples = (samples - 1) * stride + kernel
    return samples


_LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True,
}  # fmt: skip
# Published sizes, for random weights and for counting parameters without a hub. What is not named is
# transformers' default for the family.
PUBLISHED = {
    "ntu-spml/distilhubert": HubertEncoderConfig(
        {"model_type": "hubert", "num_hidden_layers": 2, "feat_proj_layer_norm": False}, normalise_input=False
    ),
    "facebook/hubert-base-ls960": HubertEncoderConfig({"model_type": "hubert"}, normalise_input=True),
    "facebook/hubert-large-ll60k": HubertEncoderConfig(
        {"model_type": "hubert", **_LARGE}, normalise_input=True
    ),
    "microsoft/wavlm-base-plus": HubertEncoderConfig({"model_type": "wavlm"}, normalise_input=False),
}
