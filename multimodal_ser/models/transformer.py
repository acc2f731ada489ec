"""One transformer block that serves the log-mel encoder and the fusion.

Pre-norm (Xiong et al., 2020): x + attention(norm(x)), then x + feedforward(norm(x)). B, T, D: batch,
frames or tokens, width; masks are True where a position is valid.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention from `x` to `memory`; every row of the memory's mask needs one valid position."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        assert width % heads == 0, f"width {width} is no multiple of {heads} heads"
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """x: (B, T, D), memory: (B, M, D), memory_mask: (B, M), result: (B, T, D)."""
        query = self._by_head(self.query(x))
        key, value = (self._by_head(part) for part in self.key_value(memory).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=memory_mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out(attended.transpose(1, 2).flatten(2))

    def projections(self) -> tuple[tuple[nn.Linear, slice], tuple[nn.Linear, slice]]:
        """See `encoding.ShowsAttention`."""
        return (self.query, slice(None)), (self.key_value, slice(self.query.out_features))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__(nn.Linear(width, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, width))


class Block(nn.Module):
    """Self-attention and a feed-forward network, each behind its layer norm."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, feedforward, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (B, T, D), mask: (B, T), result: (B, T, D)."""
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))
