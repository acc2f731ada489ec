"""The networks of HuBERT, DistilHuBERT, wav2vec 2.0 and WavLM, which differ in little.

The names of the weights are those of the published checkpoints, so that weights are read and written as they
are, here and by transformers, whose numbers these networks give for a single clip: tests compare them. For
padded clips the convolutions take the valid lengths or a mask. What joins the parts is `HubertEncoder`.

A seed draws the weights that transformers draws from it. That is why some are drawn twice; and what is drawn
for the positional convolution goes nowhere under weight norm, whose weight is computed: it stays as torch
made it, there as well.
B, S, T, C, D: clips, samples, frames, channels, width. H heads. Masks are True where a frame is valid.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from multimodal_ser.models.encoding import Kept, by_rows
from multimodal_ser.models.front_end import FrontEnd, convolved, goes_wrong
from multimodal_ser.models.wav2vec_config import ACTIVATIONS, Wav2VecConfig

_FRAMES_STEP = 16  # lengths of clips are multiples of it where kernels are kept by length


class Projection(nn.Module):
    """Frames (B, T, C) to the width of the blocks (B, T, D)."""

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        channels = config.conv_dim[-1]
        self.layer_norm = (
            nn.LayerNorm(channels, config.layer_norm_eps) if config.feat_proj_layer_norm else None
        )
        self.projection = nn.Linear(channels, config.hidden_size)
        self.dropout = nn.Dropout(config.feat_proj_dropout)

    def forward(self, features: Tensor) -> Tensor:
        features = features.to(self.projection.weight.dtype)
        if self.layer_norm is not None:
            features = self.layer_norm(features)
        return self.dropout(self.projection(features))


class Positions(nn.Module):
    """What the neighbours of a frame say of its place: a wide grouped convolution.

    Its weight is the product of others (weight norm), and most of its time on a processor goes into turning
    that weight into the layout of the processor's kernels. Without gradients both are done once, and clips
    get one of few lengths: torch keeps a kernel of some MiB for each.
    """

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        kernel = config.num_conv_pos_embeddings
        groups = config.num_conv_pos_embedding_groups
        # Padded by half its size on both sides, an even kernel gives one frame too many.
        self.conv = nn.Conv1d(
            config.hidden_size, config.hidden_size, kernel, padding=kernel // 2, groups=groups
        )
        self.batch_norm = nn.BatchNorm1d(config.hidden_size) if config.conv_pos_batch_norm else None
        if self.batch_norm is None:
            self.conv = parametrizations.weight_norm(self.conv, dim=2)
        self.activation = ACTIVATIONS[config.feat_extract_activation]
        self._kept = Kept()

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """hidden: (B, T, D), whose padded frames are zero; mask: (B, T)."""
        count, signal = hidden.shape[1], hidden.transpose(1, 2)
        if (norm := self.batch_norm) is not None:
            given = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            signal = F.batch_norm(signal, *given, training=False, eps=norm.eps)
            signal = signal.masked_fill(~mask[:, None], 0)
        if by_rows(signal) and not goes_wrong(self.conv, signal):
            weight = self._kept.of(self.conv.parameters(), signal.dtype, self._weight)
            padding, groups = (0, *self.conv.padding), self.conv.groups
            longer = F.pad(signal.transpose(1, 2), (0, 0, 0, -count % _FRAMES_STEP)).transpose(1, 2)
            signal = F.conv2d(longer[:, :, None], weight, self.conv.bias, padding=padding, groups=groups)
            signal = signal[:, :, 0]
        else:
            signal = convolved(self.conv, signal)
        return self.activation(signal[..., :count]).transpose(1, 2)

    def _weight(self) -> Tensor:
        """(D, D / groups, 1, kernel), with the channels of a place beside one another."""
        return self.conv.weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)


class Attention(nn.Module):
    """Every frame attends to the valid ones."""

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.dropout = config.num_attention_heads, config.attention_dropout
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, hidden: Tensor, mask: Tensor, places: Tensor | None = None) -> Tensor:
        """hidden: (B, T, D), mask: (B, T); places: see `GatedAttention`."""
        query, key, value = (
            project(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        heard = mask[:, None, None, :]
        if places is not None:
            heard = self.gated(hidden, places).to(query.dtype).masked_fill(~heard, -torch.inf)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=heard, dropout_p=dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def projections(self) -> tuple[tuple[nn.Linear, slice], tuple[nn.Linear, slice]]:
        """See `encoding.ShowsAttention`."""
        return (self.q_proj, slice(None)), (self.k_proj, slice(None))


class GatedAttention(Attention):
    """WavLM's: distances count as well, as much as the query lets them; the first block holds the table."""

    def __init__(self, config: Wav2VecConfig, is_first: bool) -> None:
        super().__init__(config)
        self.gru_rel_pos_const = nn.Parameter(torch.ones(1, self.heads, 1, 1))
        self.gru_rel_pos_linear = nn.Linear(config.hidden_size // self.heads, 8)
        self.buckets, self.farthest = config.num_buckets // 2, config.max_bucket_distance
        if is_first:
            self.rel_attn_embed = nn.Embedding(config.num_buckets, self.heads)

    def places(self, frames: int) -> Tensor:
        """What each head makes of the distance of two frames, (1, H, T, T); queries are rows."""
        place = torch.arange(frames, device=self.rel_attn_embed.weight.device)
        distance = place[None, :] - place[:, None]
        bucket = (distance > 0).long() * self.buckets
        distance, exact = distance.abs(), self.buckets // 2
        far = torch.log(distance.float() / exact) / math.log(self.farthest / exact) * (self.buckets - exact)
        far = (exact + far).long().clamp(max=self.buckets - 1)
        bucket = bucket + torch.where(distance < exact, distance, far)
        return self.rel_attn_embed(bucket).permute(2, 0, 1)[None]

    def gated(self, hidden: Tensor, places: Tensor) -> Tensor:
        """hidden: (B, T, D), places: (1, H, T, T), result: (B, H, T, T)."""
        heads = hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        gates = self.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1)
        first, second = torch.sigmoid(gates).chunk(2, dim=-1)
        return (first * (second * self.gru_rel_pos_const - 1.0) + 2.0) * places


class FeedForward(nn.Module):
    """Two layers, each frame for itself."""

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        self.intermediate_dropout = nn.Dropout(config.activation_dropout)
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = self.intermediate_dropout(self.activation(self.intermediate_dense(hidden)))
        return self.output_dropout(self.output_dense(inner))


class Adapter(nn.Module):
    """A narrow way beside a pre-norm block, as in the multilingual MMS checkpoints."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear_1 = nn.Linear(width, inner)
        self.linear_2 = nn.Linear(inner, width)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear_2(F.relu(self.linear_1(self.norm(hidden))))


class Block(nn.Module):
    """Attention and a feed-forward network; their norms stand before them in pre-norm networks."""

    def __init__(self, config: Wav2VecConfig, number: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.is_pre_norm = config.do_stable_layer_norm
        is_gated = config.model_type == "wavlm"
        self.attention = GatedAttention(config, number == 0) if is_gated else Attention(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(width, eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(width, eps)
        has_adapter = self.is_pre_norm and config.adapter_attn_dim is not None
        self.adapter_layer = Adapter(width, config.adapter_attn_dim) if has_adapter else None

    def forward(self, hidden: Tensor, mask: Tensor, places: Tensor | None = None) -> Tensor:
        """hidden: (B, T, D), mask: (B, T); places: see `GatedAttention`."""
        if not self.is_pre_norm:
            hidden = self.layer_norm(hidden + self.dropout(self.attention(hidden, mask, places)))
            return self.final_layer_norm(hidden + self.feed_forward(hidden))
        hidden = hidden + self.dropout(self.attention(self.layer_norm(hidden), mask, places))
        hidden = hidden + self.feed_forward(self.final_layer_norm(hidden))
        return hidden if self.adapter_layer is None else hidden + self.adapter_layer(hidden)


class Blocks(nn.Module):
    """Positions, the norm before or behind all blocks, and the blocks."""

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        self.pos_conv_embed = Positions(config)
        self.layer_norm: nn.Module = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(Block(config, n) for n in range(config.num_hidden_layers))


class Wav2Vec(nn.Module):
    """All parts of a network, untrained."""

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FrontEnd(config)
        self.feature_projection = Projection(config)
        if config.has_mask_vector:
            self.masked_spec_embed = nn.Parameter(torch.rand(config.hidden_size))
        self.encoder = Blocks(config)
        self.apply(self._draw)

    @torch.no_grad()
    def _draw(self, module: nn.Module) -> None:
        is_hubert = self.config.model_type == "hubert"
        if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d):
            nn.init.normal_(module.weight, std=self.config.initializer_range or 0.02)
        if isinstance(module, nn.Linear | nn.Conv1d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None and not is_hubert:
                fan_in = module.in_channels * module.kernel_size[0]
                _draw_within(module.bias, math.sqrt(module.groups / fan_in))
        elif isinstance(module, Positions) and not is_hubert:
            fan_in = module.conv.in_channels * module.conv.kernel_size[0]
            nn.init.normal_(module.conv.weight, std=2 * math.sqrt(1 / fan_in))
            nn.init.zeros_(module.conv.bias)
        elif isinstance(module, Projection) and not is_hubert:
            for weight in (module.projection.weight, module.projection.bias):
                _draw_within(weight, math.sqrt(1 / module.projection.in_features))
        elif module is self and self.config.has_mask_vector:
            nn.init.uniform_(self.masked_spec_embed)


def _draw_within(weight: Tensor, bound: float) -> None:
    nn.init.uniform_(weight, -bound, bound)
