"""Where a block looks: its attention maps, averaged over heads, for a student to imitate.

Kernels that never write a map out give none, so queries and keys are noted as they leave their projections.
WavLM's gated position bias is left out: a map here is of content alone.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder, ShowsAttention

_NAMES = ("query", "key")
Noted = dict[int, dict[str, Tensor]]  # by block, numbers from 1: queries and keys (B, T, D)


@contextlib.contextmanager
def noted(encoder: AudioEncoder, blocks: Sequence[int]) -> Iterator[Noted]:
    """Queries and keys of some blocks of whatever `encoder` does meanwhile."""
    found: Noted = {block: {} for block in blocks}
    hooks = []

    def note(block: int, name: str, part: slice) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            found[block][name] = output[..., part]

        return hook

    for block in blocks:
        for name, (projection, part) in zip(_NAMES, _attention(encoder, block).projections(), strict=True):
            hooks.append(projection.register_forward_hook(note(block, name, part)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def log_map(encoder: AudioEncoder, block: int, found: Noted, mask: Tensor) -> Tensor:
    """The logarithm of the attention map (B, T, T) of a block, rows are queries; mask: (B, T)."""
    heads = _attention(encoder, block).heads
    query, key = (found[block][name].float().unflatten(-1, (heads, -1)) for name in _NAMES)
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    heard = mask | ~mask.any(1, keepdim=True)
    scores = scores.masked_fill(~heard[:, None, None], torch.finfo(scores.dtype).min)
    return scores.softmax(-1).mean(1).clamp(min=1e-9).log()


def divergence(told: Tensor, said: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid frames of the Kullback-Leibler divergence of two log maps (B, T, T)."""
    each = (told.exp() * (told - said)).masked_fill(~mask[:, None], 0).sum(-1)
    return (each * mask).sum() / mask.sum().clamp(min=1)


def _attention(encoder: AudioEncoder, block: int) -> ShowsAttention:
    if encoder.num_layers and not 1 <= block <= encoder.num_layers:
        raise InputError(
            f"attention of block {block}: a {type(encoder).__name__} of {encoder.num_layers} blocks"
        )
    attention = encoder.attention(block) if encoder.num_layers else None
    if attention is None:  # such as Whisper's, which hears windows of its own length
        raise InputError(f"a {type(encoder).__name__} shows no attention maps; set distillation.attention: 0")
    return attention
