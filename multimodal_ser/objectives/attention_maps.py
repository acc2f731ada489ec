"""Where a block looks: its attention maps, averaged over heads, for a student to imitate.

Kernels that never write a map out give none, so queries and keys are noted as they leave their projections.
WavLM's gated position bias is left out: a map here is of content alone.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import AudioEncoder

_NO_MAPS = "a {} shows no attention maps; set distillation.attention: 0"
Noted = dict[int, dict[str, Tensor]]  # by block, numbers from 1: queries and keys (B, T, D)


@contextlib.contextmanager
def noted(encoder: AudioEncoder, blocks: Sequence[int]) -> Iterator[Noted]:
    """Queries and keys of some blocks of whatever `encoder` does meanwhile."""
    found: Noted = {block: {} for block in blocks}
    hooks = []

    def note(block: int, name: str, part: int | None = None) -> object:
        def hook(_: nn.Module, __: object, output: Tensor) -> None:
            found[block][name] = output if part is None else output.chunk(2, dim=-1)[part]

        return hook

    for block in blocks:
        attention = _attention(encoder, block)
        if hasattr(attention, "q_proj"):
            hooks.append(attention.q_proj.register_forward_hook(note(block, "query")))
            hooks.append(attention.k_proj.register_forward_hook(note(block, "key")))
        else:
            hooks.append(attention.query.register_forward_hook(note(block, "query")))
            hooks.append(attention.key_value.register_forward_hook(note(block, "key", 0)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def log_map(encoder: AudioEncoder, block: int, found: Noted, mask: Tensor) -> Tensor:
    """The logarithm of the attention map (B, T, T) of a block, rows are queries; mask: (B, T)."""
    attention = _attention(encoder, block)
    heads = getattr(attention, "num_heads", None) or attention.heads
    query, key = (found[block][name].float().unflatten(-1, (heads, -1)) for name in ("query", "key"))
    scores = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    heard = mask | ~mask.any(1, keepdim=True)
    scores = scores.masked_fill(~heard[:, None, None], torch.finfo(scores.dtype).min)
    return scores.softmax(-1).mean(1).clamp(min=1e-9).log()


def divergence(told: Tensor, said: Tensor, mask: Tensor) -> Tensor:
    """Mean over valid frames of the Kullback-Leibler divergence of two log maps (B, T, T)."""
    each = (told.exp() * (told - said)).masked_fill(~mask[:, None], 0).sum(-1)
    return (each * mask).sum() / mask.sum().clamp(min=1)


def _attention(encoder: AudioEncoder, block: int) -> nn.Module:
    holder = encoder.network if hasattr(encoder, "network") else encoder
    blocks = getattr(getattr(holder, "encoder", None), "layers", None) or getattr(holder, "blocks", None)
    if blocks is None:  # such as Whisper's, which hears windows of its own length
        raise InputError(_NO_MAPS.format(type(encoder).__name__))
    if not 1 <= block <= len(blocks):
        raise InputError(f"attention of block {block}: a {type(encoder).__name__} of {len(blocks)} blocks")
    attention = getattr(blocks[block - 1], "attention", None)
    if attention is None:
        raise InputError(_NO_MAPS.format(type(encoder).__name__))
    return attention
