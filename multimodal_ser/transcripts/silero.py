"""The Silero speech detector (Silero Team, silero-vad, MIT), run over many frames at once.

The package computes frame after frame in Python, at about 90 times real time on one core. Only the
recurrent layer needs that order, so here the spectrum and the convolutions of a chunk of frames are computed
together: the same scores (a test compares them) more than ten times as fast. Weights come from the installed
package, which is not imported: its import sets the number of threads of the whole process.

A frame is 512 samples at 16 kHz behind the last 64 samples of the one before.
"""

import importlib.util
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from multimodal_ser.errors import InputError
from multimodal_ser.installation import installed_version, pip_command
from multimodal_ser.transcripts.speech import FRAME, Block, framed

CONTEXT = 64  # samples of the frame before
PAD = 64  # samples behind a frame, mirrored
HOP = 128  # samples of the spectrum
BINS = 129
WIDTH = 128
STRIDES = (1, 2, 2, 1)  # of the four convolutions
FRAMES_AT_ONCE = 312  # about 10 s
_MODEL = Path("data", "silero_vad.jit")


def is_installed() -> bool:
    """Whether the package is there with its model; it is not imported."""
    return (path := _package()) is not None and (path / _MODEL).is_file()


class SileroDetector:
    """Scores of frames by the network of the installed silero-vad."""

    def __init__(self, at_once: int = FRAMES_AT_ONCE) -> None:
        self.at_once = at_once
        self.identity = f"silero-{installed_version('silero-vad')}"
        self.network = _Network(_weights())

    def scores(self, blocks: Iterable[Block]) -> Iterator[Block]:
        context = torch.zeros(CONTEXT)
        state: tuple[Tensor, Tensor] | None = None
        for frames in framed(blocks, self.at_once):
            samples = torch.from_numpy(np.ascontiguousarray(frames, np.float32))
            scores, state = self.network(samples, context, state)
            context = samples[-1, -CONTEXT:]
            yield scores.numpy()


class _Network(nn.Module):
    """Magnitude spectrum, four convolutions, one LSTM, one output: `forward` takes frames (n, FRAME)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.basis = weights["stft.forward_basis_buffer"]
        self.convolutions = [
            (weights[f"encoder.{n}.reparam_conv.weight"], weights[f"encoder.{n}.reparam_conv.bias"])
            for n in range(len(STRIDES))
        ]
        self.recurrent = nn.LSTM(WIDTH, WIDTH)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self.recurrent.load_state_dict({f"{name}_l0": weights[f"decoder.rnn.{name}"] for name in names})
        self.output = weights["decoder.decoder.2.weight"].flatten(), weights["decoder.decoder.2.bias"]

    @torch.inference_mode()
    def forward(self, frames: Tensor, context: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple:
        before = torch.cat([context[None], frames[:-1, -CONTEXT:]])
        x = torch.cat([before, frames], 1)[:, None]
        x = functional.conv1d(functional.pad(x, (0, PAD), mode="reflect"), self.basis, stride=HOP)
        x = (x[:, :BINS] ** 2 + x[:, BINS:] ** 2).sqrt()
        for (weight, bias), stride in zip(self.convolutions, STRIDES, strict=True):
            x = functional.conv1d(x, weight, bias, stride=stride, padding=1).relu()
        x, state = self.recurrent(x.squeeze(-1), state)
        weight, bias = self.output
        return (x.relu() @ weight + bias).sigmoid(), state


def _package() -> Path | None:
    spec = importlib.util.find_spec("silero_vad")
    return None if spec is None or not spec.origin else Path(spec.origin).parent


def _weights() -> dict[str, Tensor]:
    """Names and weights of the 16 kHz network."""
    if not is_installed():
        raise InputError(
            "the speech detector 'silero' needs the package silero-vad (the extra [vad]); install it with: "
            + pip_command("install", "silero-vad>=6.0")
            + "; or use the detector 'energy'"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about its own format
        model = torch.jit.load(str(_package() / _MODEL), map_location="cpu")
    weights = {
        name.removeprefix("_model."): value
        for name, value in model.state_dict().items()
        if name.startswith("_model.")
    }
    wanted = {"stft.forward_basis_buffer": (2 * BINS, 1, 2 * HOP), "decoder.decoder.2.weight": (1, WIDTH, 1)}
    if any(name not in weights or tuple(weights[name].shape) != shape for name, shape in wanted.items()):
        raise InputError(
            f"silero-vad {installed_version('silero-vad')} has another network than the one known here "
            "(6.0 to 6.2); install silero-vad>=6.0,<7 or use the speech detector 'energy'"
        )
    return weights


assert FRAME == 4 * HOP  # the four spectra of a frame become one column through the strides
