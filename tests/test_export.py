"""An exported model is the network: at any length, in a batch, and without this package."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_runs
import soundfile
import torch
from tiny_checkpoints import save_hubert

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")

from multimodal_ser.backends.files import graph_path, read_record
from multimodal_ser.cache import hash_file
from multimodal_ser.config import ModelConfig, build_model
from multimodal_ser.errors import InputError
from multimodal_ser.export import export_model
from multimodal_ser.export.clips import of_manifest
from multimodal_ser.export.parity import LENGTHS, check_exact
from multimodal_ser.export.precision import _bfloat16, halve_weights
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.models.hubert import HubertEncoder, HubertEncoderConfig
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.settings import parse


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read(small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 12, 2))


@pytest.fixture(scope="module")
def model(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    config = parse(ModelConfig, {**small_runs.MODEL, "classes": ["happiness", "sadness"]})
    build_model(config, manifest).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(manifest: Manifest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_model(model, folder, ("fp32", "bf16", "int8"), manifest, clips=4)
    return folder


def run_graph(folder: Path, precision: str, given: dict) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph_path(folder, "joined", precision))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_the_joined_graph_says_what_the_network_says_in_every_reading_and_class(exported, model):
    network = SerModel.from_pretrained(model)
    generator = np.random.default_rng(0)
    lengths = np.array([24_001, 300, 0, 9_000])
    waveforms = generator.standard_normal((4, 24_001)).astype(np.float32) * 0.1
    ids, mask = (tensor.numpy() for tensor in network.text.tokenize(["bad sad", "good", "so so", ""]))
    given = {"waveforms": waveforms, "lengths": lengths, "token_ids": ids, "token_mask": mask}
    found = run_graph(exported, "fp32", given)
    with torch.inference_mode():
        encoded = network.encode(*(torch.from_numpy(given[name]) for name in given))
        for reading in network.readings:
            said = network.read(encoded, reading)
            name = "dimensions" if reading == "fused" else f"{reading}_dimensions"
            np.testing.assert_allclose(found[name], said.dimensions, atol=2e-5)
        np.testing.assert_allclose(found["logits"], network.read(encoded).logits, atol=2e-5)


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_a_clip_in_a_padded_batch_comes_out_of_the_graph_as_it_does_alone(exported):
    generator = np.random.default_rng(1)
    waveforms = generator.standard_normal((2, 32_000)).astype(np.float32) * 0.1  # noise behind the end, too
    tokens = {"token_ids": np.array([[5, 6, 7]] * 2), "token_mask": np.ones((2, 3), bool)}
    both = run_graph(
        exported, "fp32", {"waveforms": waveforms, "lengths": np.array([32_000, 8_000]), **tokens}
    )
    alone = {name: value[1:] for name, value in tokens.items()}
    one = run_graph(
        exported, "fp32", {"waveforms": waveforms[1:, :8_000], "lengths": np.array([8_000]), **alone}
    )
    np.testing.assert_allclose(both["dimensions"][1:], one["dimensions"], atol=2e-5)


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_the_example_runs_without_this_package_and_says_the_same(exported, model, tmp_path):
    sound = (np.random.default_rng(2).standard_normal(16_000) * 3_000).astype(np.int16)
    soundfile.write(tmp_path / "clip.wav", sound, 16_000)
    program = (
        "import sys; sys.modules['multimodal_ser'] = sys.modules['torch'] = None; sys.argv = sys.argv[1:]\n"
    )
    program += "exec(compile(open(sys.argv[0]).read(), sys.argv[0], 'exec'), {'__file__': sys.argv[0]})"
    done = subprocess.run(
        [sys.executable, "-c", program, exported / "example.py", tmp_path / "clip.wav", "5", "6"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    network = SerModel.from_pretrained(model)
    with torch.inference_mode():
        waveform = torch.from_numpy(sound.astype(np.float32) / 32_768)[None]
        said = network(
            waveform, torch.tensor([16_000]), torch.tensor([[5, 6]]), torch.ones(1, 2, dtype=torch.bool)
        )
    assert list(json.loads(done.stdout)) == ["arousal", "valence", "dominance"]
    np.testing.assert_allclose(list(json.loads(done.stdout).values()), said.dimensions[0], atol=2e-5)
    assert len((exported / "example.py").read_text().splitlines()) <= 30


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_parity_covers_five_lengths_alone_and_together_for_every_precision(exported):
    parity = json.loads((exported / "parity.json").read_text())["precisions"]
    assert list(parity) == ["fp32", "bf16", "int8"]
    for report in parity.values():
        assert len(report["cases"]) == len(LENGTHS) + 1 == 6
        assert report["max"] == max(case["max"] for case in report["cases"].values())
    assert parity["fp32"]["max"] < 2e-5 < parity["bf16"]["max"] < 0.05
    assert parity["int8"]["max"] < 0.1  # a network of random weights; the gate judges trained ones


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_int8_quantises_products_with_weights_and_leaves_first_and_grouped_convolutions(exported):
    import onnx

    graph = onnx.load(graph_path(exported, "audio", "int8")).graph
    makers = {name: node for node in graph.node for name in node.output}
    convolutions = {
        node.name: makers.get(node.input[1]) is not None
        and makers[node.input[1]].op_type == "DequantizeLinear"
        for node in graph.node
        if node.op_type == "Conv"
    }
    grouped = [node.name for node in graph.node if any(a.name == "group" and a.i > 1 for a in node.attribute)]
    assert grouped
    assert not any(convolutions[name] for name in grouped)
    assert list(convolutions.values()).count(True) == 1, "the second of three"
    scales = [node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"]
    sizes = {weight.name: int(np.prod(weight.dims)) for weight in graph.initializer}
    assert max(sizes[name] for name in scales) > 1, "weights have a scale per channel"


def test_bfloat16_rounding_is_torchs():
    values = torch.randn(4_096, generator=torch.Generator().manual_seed(0)) * torch.logspace(-20, 20, 4_096)
    wanted = values.bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(_bfloat16(values.numpy()), wanted)


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_the_record_names_the_weights(exported, model):
    record = read_record(exported)
    assert record["weights"] == hash_file(model / "model.safetensors")
    assert record["longest_text"] == 126


def test_a_folder_without_its_record_is_not_whole(tmp_path):
    with pytest.raises(InputError, match=r"holds no export\.json; `export MODEL -o DIR` writes it"):
        read_record(tmp_path)


def test_int8_without_real_audio_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="int8 needs real audio"):
        export_model(model, tmp_path, ("int8",))


def test_a_model_that_hears_nothing_is_compared_on_words_and_calibrated_on_nothing(manifest):
    silent = [replace(utterance, audio=None) for utterance in manifest.utterances]
    clips = of_manifest(replace(manifest, utterances=silent), 4, seed=0, hears=False)
    assert clips.source == "the words of 8 utterances"
    assert not clips.calibration
    assert {clip.text for clip in clips.measuring} <= {utterance.text for utterance in silent}
    assert len(clips.measuring) == 8
    mute = replace(manifest, utterances=[replace(utterance, text=None) for utterance in silent])
    with pytest.raises(InputError, match="no utterance of the manifest has words"):
        of_manifest(mute, 4, seed=0, hears=False)


def test_a_graph_that_is_not_the_network_is_refused():
    with pytest.raises(RuntimeError, match=r"by 0\.02"):
        check_exact({"max": 0.02})
    with pytest.raises(RuntimeError, match="differs from the network by nan"):
        check_exact({"max": float("nan")})


def test_weights_stored_in_bfloat16_give_the_product_with_rounded_weights(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    weights = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 32])],
        [onnx.numpy_helper.from_array(weights.numpy(), "w")],
    )
    onnx.save(
        helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "a"
    )
    halve_weights(tmp_path / "a", tmp_path / "b")
    import onnxruntime

    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(1))
    (found,) = onnxruntime.InferenceSession(tmp_path / "b").run(None, {"x": x.numpy()})
    np.testing.assert_allclose(found, x @ weights.bfloat16().float(), atol=1e-5)
    assert (tmp_path / "b").stat().st_size < 0.6 * (tmp_path / "a").stat().st_size


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
@pytest.mark.parametrize("family", ["hubert", "wavlm"])
def test_networks_with_weight_norm_are_exported_alone_as_well(family, tmp_path):
    config = json.loads((save_hubert(tmp_path / "hubert") / "config.json").read_text())
    torch.manual_seed(0)
    audio = HubertEncoder(HubertEncoderConfig({**config, "model_type": family}, True))
    SerModel(SerConfig(fusion="audio", width=16, heads=2), audio).save_pretrained(tmp_path / "model")
    parity = export_model(tmp_path / "model", tmp_path / "exported", ("fp32",))
    assert parity["precisions"]["fp32"]["max"] < 2e-5
    assert read_record(tmp_path / "exported")["parts"] == ["audio", "fusion"]
