"""A model whose branches are computed by another runtime, with the interface of `SerModel`.

The fusion always runs in torch and single precision: it is below one percent of the arithmetic.

- `torch-bf16`: the same network under autocast; norms and softmax stay in single precision. On a GPU as well.
  On a processor weights are cast once, and clips are padded to one of few lengths.
- `torch-bf16-compiled`: on a GPU, with the convolutional front end of a HuBERT-like encoder compiled. Its
  norms and activations move more bytes there than its convolutions do; compiled, they are fused. It takes a
  minute at first, and again for batches of one clip: other sizes and lengths are free.
- `ort-fp32`, `ort-int8`: the exported graphs in ONNX Runtime.
- `openvino-bf16`, `openvino-int8`: the exported graphs in OpenVINO, which computes in bfloat16 where the
  processor can; int8 as ONNX Runtime's, with what is not quantised in bfloat16.

In the int8 backends the text branch is quantised too, its matrix products dynamically, by ONNX Runtime.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from multimodal_ser.backends.casting import in_bfloat16
from multimodal_ser.backends.files import graph_path
from multimodal_ser.models.fusion import Branch
from multimodal_ser.models.ser import Encoded, SerModel, SerOutput


class Backend(NamedTuple):
    """How a backend computes."""

    runtime: str
    precision: str
    way: str = "plain"  # or compiled

    @property
    def reduced(self) -> bool:
        """Whether its numbers are not those of single precision."""
        return self.precision != "fp32"


REFERENCE = "torch-fp32"
BACKENDS = {
    name: Backend(*name.split("-"))
    for name in (
        REFERENCE,
        "torch-bf16",
        "torch-bf16-compiled",
        "ort-fp32",
        "ort-int8",
        "openvino-bf16",
        "openvino-int8",
    )
}
_SAMPLES_STEP = 16 * 320  # 16 frames of HuBERT, whose number of frames is (samples - 80) // 320
_FRAME_MARGIN = 80
_TOKENS_STEP = 8  # with the two markers
Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class BackedModel(nn.Module):
    """`SerModel` with faster branches."""

    def __init__(self, model: SerModel, name: str, graphs: Path | None = None) -> None:
        super().__init__()
        self.model = model
        self.backend = BACKENDS[name]
        self.config, self.readings = model.config, model.readings
        self._audio, self._text = self._runners(graphs)
        self._device = next(model.parameters()).device.type
        self._in_few_shapes = self._device == "cpu" and self.backend.precision == "bf16"
        is_cast = self._device == "cpu" and name == "torch-bf16"
        self._encoder = in_bfloat16(model) if is_cast else model
        self._front_end = None
        if self.backend.way == "compiled":
            self._front_end = torch.compile(model.audio.encode_front_end, dynamic=True)

    @property
    def audio(self) -> nn.Module | None:
        return self.model.audio

    @property
    def text(self) -> nn.Module | None:
        return self.model.text

    def encode(
        self,
        waveforms: Tensor | None,
        lengths: Tensor | None,
        token_ids: Tensor | None,
        token_mask: Tensor | None,
    ) -> Encoded:
        """As `SerModel.encode`; states come out in single precision."""
        return Encoded(
            None if self.audio is None else self.encode_audio(waveforms, lengths),
            None if self.text is None else self.encode_text(token_ids, token_mask),
        )

    def encode_audio(self, waveforms: Tensor, lengths: Tensor) -> Branch:
        """The audio branch of `encode`."""
        if self._audio is not None:
            return _branch(self._audio, waveforms=waveforms, lengths=lengths)
        if self._in_few_shapes and waveforms.shape[1]:
            waveforms = _padded(waveforms, (_FRAME_MARGIN - waveforms.shape[1]) % _SAMPLES_STEP)
        with self._autocast():
            heard = None
            if self._front_end is not None:
                heard = self.audio.forward_from_front_end(*self._front_end(waveforms, lengths))
            branch = self._encoder.encode_audio(waveforms, lengths, heard)
        return branch._replace(states=branch.states.float())

    def encode_text(self, token_ids: Tensor, token_mask: Tensor) -> Branch:
        """The text branch of `encode`."""
        if self.backend.precision == "int8" and len(token_ids) > 1:
            # Products are quantised by the range of what is in them: of one text, not of those beside it.
            return self._read_each(token_ids, token_mask)
        count, longest = token_ids.shape[1], self.text.window - 2
        if self._text is not None and 1 <= count <= longest:
            return _branch(self._text, token_ids=token_ids, token_mask=token_mask)
        if self._in_few_shapes and 0 < count < longest:
            missing = min(longest - count, (-2 - count) % _TOKENS_STEP)
            token_ids, token_mask = _padded(token_ids, missing), _padded(token_mask, missing)
        with self._autocast():
            # A long transcript is read in windows, which the graph does not do.
            branch = self._encoder.encode_text(token_ids, token_mask)
        return branch._replace(states=branch.states.float())

    def read(
        self, encoded: Encoded, reading: str = "fused", hidden: dict[str, Tensor] | None = None
    ) -> SerOutput:
        """As `SerModel.read`."""
        return self.model.read(encoded, reading, hidden)

    def _autocast(self) -> torch.autocast:
        in_torch = self.backend.runtime == "torch"
        return torch.autocast(self._device, torch.bfloat16, enabled=in_torch and self.backend.reduced)

    def _read_each(self, ids: Tensor, mask: Tensor) -> Branch:
        sizes = mask.sum(1).tolist()
        read = [
            self.encode_text(ids[n : n + 1, :size], mask[n : n + 1, :size]) for n, size in enumerate(sizes)
        ]
        states, marked = (
            pad_sequence([getattr(branch, name)[0] for branch in read], batch_first=True)
            for name in ("states", "mask")
        )
        return Branch(states, marked, mask.any(1))

    def _runners(self, graphs: Path | None) -> tuple[Run | None, Run | None]:
        runtime, precision, _ = self.backend
        if runtime == "torch":
            return None, None
        kind = "int8" if precision == "int8" else "fp32"
        audio = text = None
        if self.audio is not None:
            open_graph = open_in_openvino if runtime == "openvino" else open_in_ort
            audio = open_graph(graph_path(graphs, "audio", kind))
        if self.text is not None:
            text = open_in_ort(graph_path(graphs, "text", kind))
        return audio, text


def open_in_ort(path: Path) -> Run:
    """A graph in ONNX Runtime on the processor, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def open_in_openvino(path: Path, precision: str = "bf16") -> Run:
    """A graph in OpenVINO on the processor."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    requests = threading.local()  # one belongs to one thread; they share the weights

    def run(given: dict[str, np.ndarray]) -> list[np.ndarray]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found = requests.own.infer(given)
        return [np.array(found[output]) for output in compiled.outputs]

    return run


def _padded(rows: Tensor, missing: int) -> Tensor:
    """With a little that no network feels: for each shape, torch compiles its kernels anew."""
    return F.pad(rows, (0, missing))


def _branch(run: Run, **given: Tensor) -> Branch:
    found = run({name: tensor.cpu().numpy() for name, tensor in given.items()})
    return Branch(*(torch.from_numpy(value) for value in found))
