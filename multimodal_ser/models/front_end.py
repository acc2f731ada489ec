"""Waveforms to frames: the convolutions that HuBERT, DistilHuBERT, wav2vec 2.0 and WavLM begin with.

They are computed in one of two ways, which give the same numbers up to rounding.

- Whole batches, channels first, as convolutions: on a GPU, for gradients, and in exported graphs.
- Clip by clip, without its padding, as matrix products on rows of frames: on a processor without gradients.
  Torch's one-dimensional convolutions keep channels first there, and in bfloat16 spend most of their time
  on turning activations into the layout of the processor's kernels and back. Rows need no turning, a stretch
  of seconds stays in the cache through all layers, and the norm behind the first layer costs nothing: mean
  and variance of its output follow from those of its input, so it is a matter of other weights.

B, S, T, C: clips, samples, frames, channels.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.models.encoding import Kept, by_rows, mask_from_lengths
from multimodal_ser.models.wav2vec_config import ACTIVATIONS, Wav2VecConfig

# With 4 to 24 channels in a group, some convolutions go wrong on AMX, of even kernels all (torch 2.14.1).
FEWEST_CHANNELS_IN_BFLOAT16 = 32
_STRETCH = 128  # frames at most that go through all layers together: some MiB of activations
_STEP = 8  # lengths of stretches are multiples of it: for each length, kernels in bfloat16 are compiled once
_ROWS_OF_MOMENTS = 65_536  # that are held in double precision


class Convolution(nn.Module):
    """One layer of the front end; the first one's group norm takes its statistics over valid frames."""

    def __init__(self, config: Wav2VecConfig, number: int) -> None:
        super().__init__()
        channels_in, channels = (1, *config.conv_dim)[number : number + 2]
        self.kernel, self.stride = config.conv_kernel[number], config.conv_stride[number]
        self.conv = nn.Conv1d(channels_in, channels, self.kernel, self.stride, bias=config.conv_bias)
        self.activation = ACTIVATIONS[config.feat_extract_activation]
        self.layer_norm: nn.Module | None = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = nn.LayerNorm(channels)
        elif number == 0:
            self.layer_norm = nn.GroupNorm(channels, channels)

    def frames(self, lengths: Tensor) -> Tensor:
        """Valid places (B,) behind this layer, from those before it."""
        return (torch.div(lengths - self.kernel, self.stride, rounding_mode="floor") + 1).clamp(min=0)

    def forward(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """signal: (B, C, S), lengths: (B,) valid places of the result, which is (B, C', S')."""
        signal = convolved(self.conv, signal)
        if isinstance(self.layer_norm, nn.GroupNorm):
            signal = group_norm(self.layer_norm, signal, lengths)
        elif self.layer_norm is not None:
            signal = self.layer_norm(signal.transpose(1, 2)).transpose(1, 2)
        return self.activation(signal)


class FrontEnd(nn.Module):
    """Waveforms to frames."""

    def __init__(self, config: Wav2VecConfig) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(Convolution(config, n) for n in range(len(config.conv_dim)))
        self._kept = Kept()

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """waveforms: (B, S), zero behind the lengths (B,); result: (B, T, C) and valid frames (B,)."""
        if by_rows(waveforms):
            return self._frames_by_rows(waveforms, lengths)
        signal = waveforms[:, None]
        for layer in self.conv_layers:
            lengths = layer.frames(lengths)
            signal = layer(signal, lengths)
        return signal.transpose(1, 2), lengths

    def _frames_by_rows(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`; frames behind a clip's end are zero."""
        layers = self.conv_layers
        kind = torch.promote_types(waveforms.dtype, layers[0].conv.weight.dtype)
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
        count = torch.tensor(waveforms.shape[1])
        valid = lengths
        for layer in layers:
            count, valid = layer.frames(count), layer.frames(valid)
        frames = waveforms.new_zeros(len(waveforms), int(count), layers[-1].conv.out_channels, dtype=kind)
        weights = self._kept.of(
            [layer.conv.weight for layer in layers[1:]],
            kind,
            lambda: [_weights_of_rows(layer, kind) for layer in layers[1:]],
        )
        for number, (length, wanted) in enumerate(zip(lengths.tolist(), valid.tolist(), strict=True)):
            if wanted:
                _fill(frames[number, :wanted], layers, weights, waveforms[number, :length])
        return frames, valid


def convolved(conv: nn.Conv1d, signal: Tensor) -> Tensor:
    """A convolution over channels (B, C, T), in bfloat16 only if torch gets it right."""
    if goes_wrong(conv, signal):
        with torch.autocast("cpu", enabled=False):
            return conv(signal.to(conv.weight.dtype))
    return conv(signal)


def goes_wrong(conv: nn.Conv1d, signal: Tensor) -> bool:
    """Whether torch would get it wrong: narrow, and in bfloat16 on a processor."""
    is_narrow = 1 < conv.in_channels // conv.groups < FEWEST_CHANNELS_IN_BFLOAT16
    return is_narrow and signal.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def group_norm(norm: nn.GroupNorm, signal: Tensor, lengths: Tensor) -> Tensor:
    """Group norm with one group per channel over valid frames; signal (B, C, T) is overwritten.

    Mean first, then the variance of what is left: one pass over squares would cancel where a recording has an
    offset many times its loudness. In place, because this is the largest activation of the whole network.
    """
    with torch.autocast(signal.device.type, enabled=False):
        centred = signal.to(torch.promote_types(signal.dtype, torch.float32))
        valid = mask_from_lengths(lengths, signal.shape[-1])[:, None].to(centred.dtype)
        count = lengths.clamp(min=1)[:, None, None]
        mean = centred.mul_(valid).sum(-1, keepdim=True) / count
        centred = centred.sub_(mean).mul_(valid)
        variance = torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square() / count
        scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
        return torch.addcmul(norm.bias[:, None], centred, scale.to(centred.dtype)).to(signal.dtype)


def _fill(
    frames: Tensor, layers: Sequence[Convolution], weights: list[list[Tensor]], samples: Tensor
) -> None:
    """The frames (T, C) of one clip."""
    first = layers[0]
    rows = samples.unfold(0, first.kernel, first.stride)
    weight, bias = first.conv.weight[:, 0], first.conv.bias
    if isinstance(first.layer_norm, nn.GroupNorm):
        rows = rows - rows.mean(0)
        weight, bias = weight * _scale(first.layer_norm, rows, weight)[:, None], first.layer_norm.bias
    rows, weight = rows.to(frames.dtype), weight.to(frames.dtype)
    step, reach = 1, 1  # rows of the first layer between two frames, and those that a frame sees
    for layer in reversed(layers[1:]):
        step, reach = step * layer.stride, (reach - 1) * layer.stride + layer.kernel
    count = math.ceil(len(frames) / _STRETCH)
    stretch = math.ceil(len(frames) / count / _STEP) * _STEP
    missing = (stretch * count - 1) * step + reach - len(rows)
    rows = F.pad(rows, (0, 0, 0, max(0, missing)))
    for begin in range(0, len(frames), stretch):
        seen = rows[begin * step : (begin + stretch - 1) * step + reach]
        found = _finish(first, F.linear(seen, weight, _as(bias, frames.dtype)))
        for layer, groups in zip(layers[1:], weights, strict=True):
            found = _finish(layer, _convolve(layer, groups, found))
        wanted = frames[begin : begin + stretch]
        wanted.copy_(found[: len(wanted)])


def _scale(norm: nn.GroupNorm, centred: Tensor, weight: Tensor) -> Tensor:
    """What the norm multiplies each channel by, from the input's covariance.

    In double precision: a channel may answer to little of what is loud in its input.
    """
    moments = sum(part.double().T @ part.double() for part in centred.split(_ROWS_OF_MOMENTS)) / len(centred)
    variance = ((weight.double() @ moments) * weight.double()).sum(1)
    return norm.weight * torch.rsqrt(variance + norm.eps).to(norm.weight.dtype)


def _weights_of_rows(layer: Convolution, kind: torch.dtype) -> list[Tensor]:
    """Weights (C', places * C) of the places of a kernel, in groups of as many as a step has."""
    weight = layer.conv.weight.detach().to(kind).transpose(1, 2)
    return [part.flatten(1).contiguous() for part in weight.split(layer.stride, dim=1)]


def _convolve(layer: Convolution, weights: Sequence[Tensor], rows: Tensor) -> Tensor:
    """(T, C) to (T', C'): a group of places sees rows that follow on one another, so it is one product."""
    count = (len(rows) - layer.kernel) // layer.stride + 1
    found = None
    for number, weight in enumerate(weights):
        places = weight.shape[1] // rows.shape[1]
        seen = rows[number * layer.stride :].unfold(0, places, layer.stride)[:count]
        seen = seen.transpose(1, 2).flatten(1)  # still a view
        if found is None:
            found = F.linear(seen, weight, _as(layer.conv.bias, rows.dtype))
        else:
            found.addmm_(seen, weight.T)
    return found


def _finish(layer: Convolution, rows: Tensor) -> Tensor:
    if isinstance(layer.layer_norm, nn.LayerNorm):
        rows = layer.layer_norm(rows).to(rows.dtype)
    return layer.activation(rows)


def _as(bias: Tensor | None, kind: torch.dtype) -> Tensor | None:
    return None if bias is None else bias.to(kind)
