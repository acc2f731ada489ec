"""From torch to ONNX: one graph per branch, one for the fusion, and all of them joined.

Inputs and outputs, all of any batch size and length:
- audio: `waveforms` (B, S), `lengths` (B,) to `audio_states` (B, T, H), `audio_mask`, `audio_present`;
- text: `token_ids`, `token_mask` (B, L) to `text_states`, `text_mask`, `text_present`;
- fusion: those six to `dimensions` (B, 3), the single readings `audio_dimensions` and `text_dimensions`, and
  `logits` (B, C) if the model has classes.

A transcript may have as many tokens as the encoder has positions, less the two markers; longer ones have to
be run in windows, as `TextEncoder` does.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize

from multimodal_ser.backends.files import graph_path
from multimodal_ser.errors import InputError
from multimodal_ser.models.fusion import Branch
from multimodal_ser.models.ser import Encoded, SerModel

LONGEST_MARGIN = 400  # samples behind every clip, so that one of any length has a frame
OPSET = 20  # the first with GELU and DFT over a given axis
_EXAMPLE_SAMPLES = (12_000, 7_000)  # of the clips that the tracer looks at
_DYNAMIC = torch.export.Dim.DYNAMIC


class AudioPart(nn.Module):
    """Waveforms to projected states."""

    def __init__(self, model: SerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Branch:
        """waveforms: (B, S), lengths: (B,)."""
        waveforms = nn.functional.pad(waveforms, (0, LONGEST_MARGIN))
        encoding = self.model.audio(waveforms, lengths)
        states = self.model.audio_projection(self.model.layer_mix(encoding.layers))
        return Branch(states, encoding.mask, lengths > 0)


class TextPart(nn.Module):
    """Tokens to projected states."""

    def __init__(self, model: SerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Branch:
        """token_ids, token_mask: (B, L)."""
        encoded = self.model.text(token_ids, token_mask)
        states = self.model.text_projection(encoded.layers[-1])
        return Branch(states, encoded.mask, token_mask.any(1))


class FusionPart(nn.Module):
    """States of the branches to all readings."""

    def __init__(self, model: SerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Three tensors of each branch that there is."""
        branches = dict(zip(self.model.config.branches, _branches(given), strict=True))
        encoded = Encoded(branches.get("audio"), branches.get("text"))
        said = [self.model.read(encoded, reading) for reading in self.model.readings]
        dimensions = [reading.dimensions for reading in said]
        return (*dimensions, said[0].logits) if said[0].logits is not None else tuple(dimensions)


def write_parts(model: SerModel, folder: Path) -> list[str]:
    """Write every part in single precision and return their names; the model is of no use afterwards.

    Not a copy: what torch computes weights from is shared with copies, and removing it breaks them all.
    """
    _fold_parametrizations(model)
    branches, parts = list(model.config.branches), []
    states: list[Tensor] = []
    for name in branches:
        module, inputs, names, shapes = _branch_call(model, name)
        _write(module, inputs, names, _outputs(name), shapes, graph_path(folder, name, "fp32"))
        with torch.inference_mode():
            states += [tensor.clone() for tensor in module(*inputs)]
        parts.append(name)
    names = [name for branch in branches for name in _outputs(branch)]
    shapes = [{0: _DYNAMIC, 1: _DYNAMIC}, {0: _DYNAMIC, 1: _DYNAMIC}, {0: _DYNAMIC}] * len(branches)
    outputs = readings(model)
    _write(
        FusionPart(model),
        tuple(states),
        names,
        outputs,
        (tuple(shapes),),
        graph_path(folder, "fusion", "fp32"),
    )
    return [*parts, "fusion"]


def readings(model: SerModel) -> list[str]:
    """Names of the fusion's outputs."""
    others = model.readings[1:]
    return [
        "dimensions",
        *(f"{name}_dimensions" for name in others),
        *["logits"] * bool(model.config.classes),
    ]


def join(folder: Path, parts: Sequence[str], precision: str) -> Path:
    """One graph from waveforms and tokens to readings, made of the parts of a precision."""
    import onnx
    from onnx.compose import merge_models

    graphs = {part: onnx.load(graph_path(folder, part, precision)) for part in parts}
    version = min(graph.ir_version for graph in graphs.values())
    for part, graph in graphs.items():
        graph.ir_version = version
        _prefix(graph, part)
    joined, *others = (graphs[part] for part in parts if part != "fusion")
    for other in others:
        joined = merge_models(joined, other, io_map=[])
    wires = [(name, name) for part in parts if part != "fusion" for name in _outputs(part)]
    joined = merge_models(joined, graphs["fusion"], io_map=wires)
    path = graph_path(folder, "joined", precision)
    onnx.save(joined, path)
    return path


def _prefix(graph: "onnx.ModelProto", part: str) -> None:  # noqa: F821
    """Give the inner names of a graph the name of its part, so that two graphs can live in one."""
    from onnx.compose import add_prefix

    add_prefix(graph, f"{part}/", rename_inputs=False, rename_outputs=False, inplace=True)
    for value in [*graph.graph.input, *graph.graph.output]:
        for axis in value.type.tensor_type.shape.dim:
            if axis.HasField("dim_param"):
                axis.dim_param = f"{part}_{axis.dim_param}"


def _branch_call(model: SerModel, name: str) -> tuple[nn.Module, tuple[Tensor, ...], list[str], tuple]:
    """A branch, an example of what it takes, the names and the free axes of that."""
    if name == "audio":
        waveforms = torch.randn(2, max(_EXAMPLE_SAMPLES), generator=torch.Generator().manual_seed(0))
        shapes = ({0: _DYNAMIC, 1: _DYNAMIC}, {0: _DYNAMIC})
        return AudioPart(model), (waveforms, torch.tensor(_EXAMPLE_SAMPLES)), ["waveforms", "lengths"], shapes
    longest = model.text.window - 2
    if longest < 4:
        raise InputError(f"the text encoder has room for {longest} tokens; an export needs 4 or more")
    length = min(7, longest - 1)
    tokens = torch.export.Dim("tokens", min=1, max=longest)
    mask = torch.arange(length)[None] < torch.tensor([[length], [length - 1]])
    ids = torch.full((2, length), model.text.tokenizer.unk_token_id or 0)
    shapes = ({0: _DYNAMIC, 1: tokens}, {0: _DYNAMIC, 1: tokens})
    return TextPart(model), (ids, mask), ["token_ids", "token_mask"], shapes


def _outputs(branch: str) -> list[str]:
    return [f"{branch}_{name}" for name in Branch._fields]


def _branches(given: Sequence[Tensor]) -> list[Branch]:
    return [Branch(*given[first : first + 3]) for first in range(0, len(given), 3)]


def _fold_parametrizations(model: nn.Module) -> None:
    """Turn a weight that is computed from others, as under weight norm, into a plain one."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name)


def _write(
    module: nn.Module, inputs: tuple, names: list[str], outputs: list[str], shapes: tuple, path: Path
) -> None:
    with _quiet(), sdpa_kernel(SDPBackend.MATH):  # others lay out their result as its products do not
        program = torch.onnx.export(
            module.eval(),
            inputs,
            input_names=names,
            output_names=outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    program.save(path, external_data=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks at length about what it does and what is not installed."""
    silenced = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silenced)
