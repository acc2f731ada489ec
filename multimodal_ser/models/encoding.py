"""What every audio encoder returns, and what every audio encoder is.

Shapes: B clips, S samples, T frames, D width. Masks are True where a frame is valid. Frame rates are frames
per second. Clips are padded behind their end, never before it. What stands in the padded frames of a layer is
finite and otherwise means nothing: use the mask.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from multimodal_ser.cache import hash_bytes
from multimodal_ser.errors import InputError

KEYS_SHOWN = 20  # names of wrong weights that an error lists
_DRAWS = (
    Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_, nn.init.xavier_normal_, nn.init.xavier_uniform_, nn.init.trunc_normal_,
)  # fmt: skip


class Encoding(NamedTuple):
    """All layers of an encoder for a batch of clips."""

    layers: tuple[Tensor, ...]  # each (B, T, D); index 0 is the input to the first block
    mask: Tensor  # (B, T) bool, True = valid
    frame_rate: float  # frames per second


class ShowsAttention(Protocol):
    """A module whose attention maps can be computed again from what its projections say."""

    heads: int

    def projections(self) -> tuple[tuple[nn.Linear, slice], tuple[nn.Linear, slice]]:
        """Of queries, then of keys: the projection that says them, and where in its output (D) they are."""
        ...


class AudioEncoder(nn.Module):
    """A network from waveforms to an `Encoding`; a clip in a padded batch comes out as it does alone."""

    config: Any  # frozen dataclass; `type(encoder).from_config(encoder.config)` builds the same network
    width: int  # D
    num_layers: int  # blocks; a full pass returns one layer more than this
    frame_rate: float  # frames per second
    sample_rate: int  # samples per second that `forward` expects

    def forward(self, waveforms: Tensor, lengths: Tensor, last_layer: int | None = None) -> Encoding:
        """Encode clips.

        waveforms: (B, S) float, -1..1. lengths: (B,) integer, valid samples of each, at most S; 0 is allowed.
        last_layer: run this many blocks and no more; `layers` then has `last_layer + 1` entries.
        """
        raise NotImplementedError

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Valid frames (B,) of clips with `lengths` (B,) valid samples."""
        raise NotImplementedError

    def freeze_front_end(self) -> None:
        """Take the fixed analysis below the transformer (the convolutions) out of training."""
        raise NotImplementedError

    def attention(self, block: int) -> "ShowsAttention | None":
        """The self-attention of a block, counted from 1; None where it shows no map."""
        return None

    def blocks_to_run(self, last_layer: int | None) -> int:
        """`last_layer`, checked; all blocks for None."""
        if last_layer is None:
            return self.num_layers
        if not 0 <= last_layer <= self.num_layers:
            raise InputError(
                f"last_layer={last_layer}, but this encoder has layers 0 (input of the first block) "
                f"to {self.num_layers} (output of the last)"
            )
        return last_layer


def mask_from_lengths(lengths: Tensor, max_frames: int) -> Tensor:
    """Mask (B, max_frames), True for the first `lengths[b]` frames of row b."""
    return torch.arange(max_frames, device=lengths.device) < lengths[:, None]


def by_rows(signal: Tensor) -> bool:
    """Whether a batch is computed without its padding: on a processor, and not for gradients or a graph."""
    return signal.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


class Kept:
    """Something made from weights, made anew when they have changed."""

    def __init__(self) -> None:
        # The weights as well: while they live, no others have their places in memory.
        self._kept: tuple[list[Tensor], list, Any] | None = None

    def of(self, parts: Iterable[Tensor], kind: torch.dtype, make: Callable[[], Any]) -> Any:
        """What `make` made of these weights, in a precision, or makes now."""
        parts = list(parts)
        if any(part.is_inference() for part in parts):  # these may change unseen
            return make()
        state = [kind, *((id(part), part.data_ptr(), part.dtype, part._version) for part in parts)]
        kept = self._kept  # another thread may put its own there
        if kept is None or kept[1] != state:
            self._kept = kept = parts, state, make()
        return kept[2]


def fingerprint(encoder: nn.Module, *more: bytes) -> str:
    """A short hash of an encoder's weights and of what it is made from, and of whatever else is given."""
    parts = [type(encoder).__name__.encode(), repr(encoder.config).encode(), *more]
    for name, tensor in sorted(encoder.state_dict().items()):
        parts += [name.encode(), tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
                  if tensor.dim() else repr(tensor.item()).encode()]  # fmt: skip
    return hash_bytes(*parts)


class NothingDrawn(TorchFunctionMode):
    """Within it new networks are not filled with random numbers: their weights are read right afterwards."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        if function in (torch.rand, torch.randn):
            return torch.empty(*args, **kwargs)
        return function(*args, **kwargs)


def load_strictly(
    module: nn.Module, state: Mapping[str, Tensor], source: str = "the weights", *, share: bool = False
) -> None:
    """Load `state` into `module`; a missing, unexpected or misshapen weight is an error, never random.

    share: use the tensors of `state` themselves, where all are of the precision that the module has. What
    `read_weights` gives is mapped from its file, so that processes which load one file share its memory.
    """
    own = module.state_dict()
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in sorted(own.keys() & state.keys())
            if state[key].shape != own[key].shape
        ],
    }
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in problems.items() if keys)
        raise InputError(
            f"{source} do not fit {type(module).__name__}: {found}. "
            "The likely cause: they belong to another architecture or size, or the file is incomplete."
        )
    module.load_state_dict(state, assign=share and all(state[key].dtype == own[key].dtype for key in own))


def _some(keys: list[str]) -> str:
    shown = ", ".join(keys[:KEYS_SHOWN])
    return shown if len(keys) <= KEYS_SHOWN else f"{shown} and {len(keys) - KEYS_SHOWN} more"
