"""Graphs of lower precision, made from those of single precision.

bf16: weights are stored in bfloat16, half the size, and widened when the graph is loaded. ONNX Runtime has no
bfloat16 kernels for convolution and matrix product on CPUs, so it computes in single precision from rounded
weights; a runtime that has them (OpenVINO with its inference precision set) may compute in bfloat16.

int8: the audio graph is quantised statically, weights per output channel, activations per tensor with ranges
from real audio, as pairs of quantise and dequantise nodes around every convolution and matrix product with
a weight. What stands before the first convolution, that one (0.5 % of HuBERT's arithmetic and all of the
dynamic range) and the grouped positional one stay in single precision. The text graph is quantised
dynamically: its matrix products are all there is, and their inputs are scaled as they come. Weights have
seven bits: with eight, products overflow on processors without VNNI, and a gate that was passed on one that
has it would promise too much there. The fusion stays in single precision.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from multimodal_ser.audio import SAMPLE_RATE
from multimodal_ser.backends.files import graph_path
from multimodal_ser.cache import atomic_path
from multimodal_ser.export.clips import CALIBRATION_SECONDS, Clip

PERCENTILE = 99.99  # of an activation's values lie inside its range; the rest is clipped
_SMALLEST = 1_024  # elements of a weight that is worth storing in half


def halve_weights(source: Path, target: Path) -> None:
    """Store the large weights of a graph in bfloat16, each followed by a cast back."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(source)
    casts = []
    for weight in model.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < _SMALLEST:
            continue
        values = onnx.numpy_helper.to_array(weight)
        wide, narrow = weight.name, f"{weight.name}.bf16"
        weight.CopyFrom(
            helper.make_tensor(
                narrow, TensorProto.BFLOAT16, values.shape, _bfloat16(values).tobytes(), raw=True
            )
        )
        casts.append(helper.make_node("Cast", [narrow], [wide], to=TensorProto.FLOAT, name=f"{wide}.widen"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    with atomic_path(target) as path:
        onnx.save(model, path)


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of single-precision numbers, rounded to the nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def quantize(folder: Path, parts: Sequence[str], clips: Sequence[Clip]) -> None:
    """Write the int8 graph of every part."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    for part in parts:
        source, target = graph_path(folder, part, "fp32"), graph_path(folder, part, "int8")
        if part == "audio":
            quantize_audio(source, target, clips)
        elif part == "text":
            with _hushed():
                quantize_dynamic(
                    source,
                    target,
                    op_types_to_quantize=["MatMul"],
                    per_channel=True,
                    weight_type=QuantType.QInt8,
                    reduce_range=True,
                )
        else:
            target.write_bytes(source.read_bytes())


def quantize_audio(source: Path, target: Path, clips: Sequence[Clip]) -> None:
    """Static quantisation of convolutions and matrix products, calibrated on clips."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with _hushed(), tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        _infer_shapes(source, prepared)
        quantize_static(
            prepared,
            target,
            _Reader(clips),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=_excluded(prepared),
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                "MatMulConstBOnly": True,
                "CalibPercentile": PERCENTILE,
                "CalibTensorRangeSymmetric": False,
            },
        )


class _Reader:
    """Feeds one clip at a time to the calibration: a batch would put padding into the ranges.

    Its histograms want clips of one length; a shorter one is repeated.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        samples = int(CALIBRATION_SECONDS * SAMPLE_RATE)
        sounds = (np.resize(clip.waveform, samples) for clip in clips)
        self._feeds: Iterator[dict] = (
            {"waveforms": sound[None], "lengths": np.array([samples])} for sound in sounds
        )

    def get_next(self) -> dict | None:
        return next(self._feeds, None)


def _infer_shapes(source: Path, target: Path) -> None:
    import onnx

    onnx.save(onnx.shape_inference.infer_shapes(onnx.load(source)), target)


def _excluded(path: Path) -> list[str]:
    """What keeps single precision: all up to the first convolution, and grouped convolutions."""
    import onnx

    nodes = [node for node in onnx.load(path).graph.node if node.op_type in ("Conv", "MatMul")]
    first = next((place for place, node in enumerate(nodes) if node.op_type == "Conv"), -1)
    grouped = [
        node for node in nodes[first + 1 :] if any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]
    return [node.name for node in [*nodes[: first + 1], *grouped]]


class _hushed:
    """Quantisation warns about preprocessing that was done another way."""

    def __enter__(self) -> None:
        self._level = logging.root.level
        logging.root.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        logging.root.setLevel(self._level)
