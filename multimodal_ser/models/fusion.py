"""Joining the audio and the text branch into one vector per utterance.

A branch is a sequence of states (B, T, H) with a mask. Whether an utterance has a branch at all is a
second mask, `present` (B,): an empty or untrusted transcript is absent, and an absent branch is replaced
by a learned null token. So a fused value with the text absent *is* the audio-only value, up to rounding,
and the other way round.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.models.transformer import Attention, FeedForward

_VARIANCE_FLOOR = 1e-6  # keeps the slope of the square root finite where all states are equal
_LAYER_EPS = 1e-10  # added to the variance of a layer's state; a usual 1e-5 would mute layers of small norm


class Branch(NamedTuple):
    """One modality of a batch."""

    states: Tensor  # (B, T, H)
    mask: Tensor  # (B, T) bool
    present: Tensor  # (B,) bool


class LayerMix(nn.Module):
    """A learned convex mix of an encoder's layers, each normalised first.

    Without the normalisation the weights follow the layers' norms rather than their use.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """The share of each layer (L,), adding up to 1."""
        return self.scores.softmax(0)

    def forward(self, layers: tuple[Tensor, ...]) -> Tensor:
        """L tensors (B, T, D) to one (B, T, D); a single layer keeps its scale."""
        if len(layers) == 1:
            return self.weights[0] * layers[0]
        mixed = torch.zeros_like(layers[0])
        for weight, layer in zip(self.weights, layers, strict=True):
            mixed = mixed + weight * F.layer_norm(layer, layer.shape[-1:], eps=_LAYER_EPS)
        return mixed


class AttentiveStatistics(nn.Module):
    """Mean and deviation over time, weighted by attention (Okabe et al., 2018): (B, T, H) to (B, 2H).

    Every row of the mask needs one valid state; states that are not valid must be finite.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1))

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        scores = self.score(states).squeeze(-1).masked_fill(~mask, -torch.inf)
        share = scores.softmax(1)[..., None]
        mean = (share * states).sum(1)
        # The centred form keeps its digits where mean^2 and the mean square nearly cancel.
        variance = (share * (states - mean[:, None]).square()).sum(1)
        return torch.cat([mean, (variance + _VARIANCE_FLOOR).sqrt()], dim=1)


class FrameAttention(nn.Module):
    """Mean over time, weighted by attention (Li et al., 2024): softmax over valid frames of tanh(h w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states: (B, T, D), mask: (B, T), result: (B, D); zero for a clip without a valid frame."""
        scores = torch.tanh(self.score(states)[..., 0]).masked_fill(~mask, torch.finfo(states.dtype).min)
        weights = scores.softmax(-1) * mask
        return torch.einsum("bt,btd->bd", weights, states.masked_fill(~mask[..., None], 0))


class NullToken(nn.Module):
    """A learned state in front of a branch, alone valid where the branch is absent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.state = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, branch: Branch) -> tuple[Tensor, Tensor]:
        """States (B, 1 + T, H) and mask (B, 1 + T)."""
        batch = branch.states.shape[0]
        null = self.state.to(branch.states.dtype).expand(batch, 1, -1)
        mask = F.pad(branch.mask & branch.present[:, None], (1, 0), value=True)
        # An absent branch may hold anything, even NaN; what is masked must not reach the weighted sums.
        states = torch.where(mask[..., None], torch.cat([null, branch.states], dim=1), 0.0)
        return states, mask


class CrossBlock(nn.Module):
    """Each branch looks at the other, takes in what a gate lets through, and thinks about it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in ("audio", "text")})
        self.attention = nn.ModuleDict({name: Attention(width, heads, dropout) for name in ("audio", "text")})
        self.gate = nn.ModuleDict({name: nn.Linear(2 * width, width) for name in ("audio", "text")})
        self.feedforward = nn.ModuleDict(
            {
                name: nn.Sequential(nn.LayerNorm(width), FeedForward(width, 2 * width, dropout))
                for name in ("audio", "text")
            }
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, audio: Tensor, audio_mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        normed_audio, normed_text = self.norms["audio"](audio), self.norms["text"](text)
        new_audio = self._take_in("audio", audio, normed_audio, normed_text, text_mask)
        new_text = self._take_in("text", text, normed_text, normed_audio, audio_mask)
        return new_audio, new_text

    def _take_in(self, name: str, x: Tensor, normed: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        seen = self.attention[name](normed, memory, memory_mask)
        gate = torch.sigmoid(self.gate[name](torch.cat([normed, seen], dim=-1)))
        x = x + self.dropout(gate * seen)
        return x + self.dropout(self.feedforward[name](x))


class CrossAttentionFusion(nn.Module):
    """Cross-attention in both directions, then attentive statistics of both branches: result (B, 4H)."""

    def __init__(self, width: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.out_width = 4 * width
        self.null = nn.ModuleDict({name: NullToken(width) for name in ("audio", "text")})
        self.blocks = nn.ModuleList(CrossBlock(width, heads, dropout) for _ in range(blocks))
        self.pool = nn.ModuleDict({name: AttentiveStatistics(width) for name in ("audio", "text")})

    def forward(self, audio: Branch, text: Branch) -> Tensor:
        audio_states, audio_mask = self.null["audio"](audio)
        text_states, text_mask = self.null["text"](text)
        for block in self.blocks:
            audio_states, text_states = block(audio_states, audio_mask, text_states, text_mask)
        pooled_audio = self.pool["audio"](audio_states, audio_mask)
        pooled_text = self.pool["text"](text_states, text_mask)
        return torch.cat([pooled_audio, pooled_text], dim=1)


class ConcatFusion(nn.Module):
    """Attentive statistics of both branches side by side, the classical late fusion: result (B, 4H)."""

    def __init__(self, width: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.out_width = 4 * width
        self.null = nn.ModuleDict({name: NullToken(width) for name in ("audio", "text")})
        self.pool = nn.ModuleDict({name: AttentiveStatistics(width) for name in ("audio", "text")})

    def forward(self, audio: Branch, text: Branch) -> Tensor:
        pooled_audio = self.pool["audio"](*self.null["audio"](audio))
        return torch.cat([pooled_audio, self.pool["text"](*self.null["text"](text))], dim=1)


class SingleBranch(nn.Module):
    """Attentive statistics of the one branch there is: result (B, 2H)."""

    def __init__(self, width: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.out_width = 2 * width
        self.null = NullToken(width)
        self.pool = AttentiveStatistics(width)

    def forward(self, branch: Branch) -> Tensor:
        return self.pool(*self.null(branch))


class FrameAttentionBranch(nn.Module):
    """The voice alone, pooled by frame attention, as frame-level alignment fine-tunes: result (B, H)."""

    def __init__(self, width: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.out_width = width
        self.null = NullToken(width)
        self.pool = FrameAttention(width)

    def forward(self, branch: Branch) -> Tensor:
        return self.pool(*self.null(branch))


# Name in a config: the module, and the branches it joins.
FUSIONS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "cross_attention": (CrossAttentionFusion, ("audio", "text")),
    "concat": (ConcatFusion, ("audio", "text")),
    "audio": (SingleBranch, ("audio",)),
    "frame_attention": (FrameAttentionBranch, ("audio",)),
    "text": (SingleBranch, ("text",)),
}
