"""Non-autoregressive predictive coding (Liu et al., Interspeech 2021): a frame told from its surroundings.

Convolution blocks of kernel 3 see one frame more on each side per block. Beside each stands a masked
convolution whose kernel has a block of zeros in its middle, two taps wider with every block, so that none of
them sees the frames in the middle; their sum is the representation, and a vector quantiser narrows it.

The first masked kernel has `mask_size` zeros and stands behind one block, so the output at t depends on no
input from t - (mask_size - 3) / 2 to t + (mask_size - 3) / 2: 5 frames with the 7 of Liu & Ma (Interspeech
2024). Read as a width at the input, 7 would need 15 zeros in the last of four kernels of 15: nothing would
be left.

Departure: batch norm counts valid frames only. How intensity steers this network is not published: here it
is added to the input, as in MockingJay.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from multimodal_ser.errors import InputError
from multimodal_ser.models.encoding import Encoding
from multimodal_ser.models.spectral import SpectralEncoder, steered


@dataclass(frozen=True)
class NpcConfig:
    """The size of an NPC network."""

    bands: int = 80
    stack: int = 1  # 10 ms frames that make one frame of the network
    width: int = 512
    blocks: int = 4
    kernel: int = 15
    mask_size: int = 7  # zeros in the first masked kernel
    dropout: float = 0.1
    groups: int = 4  # of the vector quantiser
    codes: int = 64  # per group
    code_width: int = 128
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("bands", "stack", "width", "blocks", "groups", "codes", "code_width"):
            if getattr(self, name) < 1:
                raise InputError(f"NPC: {name} = {getattr(self, name)}; it must be 1 or more")
        if self.kernel % 2 == 0 or self.mask_size % 2 == 0 or self.mask_size < 3:
            raise InputError(
                f"NPC: kernel = {self.kernel}, mask_size = {self.mask_size}; both odd, the mask 3 or more"
            )
        widest = self.mask_size + 2 * (self.blocks - 1)
        if widest >= self.kernel:
            raise InputError(
                f"NPC: the mask of block {self.blocks} is {widest} wide, of a kernel of {self.kernel} "
                "nothing is left; take a larger kernel, a smaller mask_size or fewer blocks"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"NPC: dropout = {self.dropout}; it must be from 0 to below 1")
        if self.temperature <= 0:
            raise InputError(f"NPC: temperature = {self.temperature}; it must be positive")


class FrameNorm(nn.BatchNorm1d):
    """Batch norm over the valid frames of a batch; padded frames become zero."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (B, D, T), mask: (B, T)."""
        if not self.training or not self.weight.requires_grad:  # frozen: what it has seen stays as it is
            return self._as_seen(x) * mask[:, None]
        by_frame = x.transpose(1, 2)
        result = torch.zeros_like(by_frame)
        # One frame has no variance; it then takes the running statistics.
        enough = int(mask.sum()) > 1
        normed = super().forward(by_frame[mask]) if enough else self._as_seen(by_frame[mask])
        result[mask] = normed.to(result.dtype)
        return result.transpose(1, 2)

    def _as_seen(self, rows: Tensor) -> Tensor:
        return F.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0, self.eps
        )


class ConvBlock(nn.Module):
    """Kernel 3, batch norm, ReLU, dropout; with a residual where the widths agree."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.residual = inputs == width
        self.convolution = nn.Conv1d(inputs, width, 3, padding=1)
        self.norm = FrameNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.dropout(F.relu(self.norm(self.convolution(x), mask)))
        return (x + y if self.residual else y) * mask[:, None]


class MaskedConvBlock(nn.Module):
    """A convolution that does not see the middle of its kernel, tanh."""

    def __init__(self, width: int, kernel: int, mask_size: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        seen = torch.ones(kernel)
        seen[(kernel - mask_size) // 2 : (kernel + mask_size) // 2] = 0
        self.register_buffer("seen", seen, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        convolution = self.convolution
        weight = convolution.weight * self.seen
        return torch.tanh(F.conv1d(x, weight, convolution.bias, padding=convolution.padding))


class Quantiser(nn.Module):
    """One of `codes` vectors per group, by Gumbel-softmax in training and by the best score otherwise."""

    def __init__(self, width: int, groups: int, codes: int, code_width: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.scores = nn.Linear(width, groups * codes)
        self.codebook = nn.Parameter(torch.randn(groups, codes, code_width) / code_width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, D), result: (B, T, groups * code_width)."""
        groups, codes, _ = self.codebook.shape
        scores = self.scores(x).unflatten(-1, (groups, codes))
        if self.training:
            chosen = F.gumbel_softmax(scores, self.temperature, hard=True)
        else:
            chosen = F.one_hot(scores.argmax(-1), codes).to(scores)
        return torch.einsum("btgc,gcd->btgd", chosen, self.codebook).flatten(2)


class NpcEncoder(SpectralEncoder):
    """Layers 0 to blocks - 1 are the convolution blocks; layer `blocks` is the masked representation."""

    config_type, title = NpcConfig, "NPC"

    def __init__(self, config: NpcConfig) -> None:
        super().__init__(config)
        widths = [self.features.width, *[config.width] * (config.blocks - 1)]
        self.blocks = nn.ModuleList(ConvBlock(width, config.width, config.dropout) for width in widths)
        self.masked = nn.ModuleList(
            MaskedConvBlock(config.width, config.kernel, config.mask_size + 2 * number)
            for number in range(config.blocks)
        )

    def freeze_front_end(self) -> None:
        self.blocks[0].requires_grad_(False)

    def forward_from_features(
        self, features: Tensor, mask: Tensor, intensity: Tensor | None = None, last_layer: int | None = None
    ) -> Encoding:
        """features: (B, T, F), mask: (B, T), intensity: (B, T) or None."""
        count = self.blocks_to_run(last_layer)
        dtype = self.masked[0].convolution.weight.dtype
        x = steered(features, mask, intensity).to(dtype).transpose(1, 2)
        hidden = []
        for block in self.blocks[: min(count + 1, self.num_layers)]:
            x = block(x, mask)
            hidden.append(x)
        layers = [x.transpose(1, 2) for x in hidden]
        if count == self.num_layers:
            seen = sum(block(x) for block, x in zip(self.masked, hidden, strict=True))
            layers.append(seen.transpose(1, 2) * mask[..., None])
        return Encoding(tuple(layers), mask, self.frame_rate)
