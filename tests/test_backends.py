"""Reduced precision is used only where its gate was passed, for the same weights, and says why if not."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import small_runs
import torch
from tiny_checkpoints import save_hubert

from multimodal_ser.backends import choice
from multimodal_ser.backends.choice import by_speed, choose, load, unavailable, with_backend
from multimodal_ser.backends.files import ONNX_FOLDER, graph_path
from multimodal_ser.backends.gate import GATE, judge, write_gate
from multimodal_ser.backends.gating import run_gate
from multimodal_ser.backends.running import BACKENDS
from multimodal_ser.config import ModelConfig, build_model
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, read
from multimodal_ser.models import front_end
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.settings import parse
from multimodal_ser.utterances import Utterance


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read(small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 22, 2))


@pytest.fixture
def model(manifest: Manifest, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    build_model(parse(ModelConfig, small_runs.MODEL), manifest).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has bfloat16, whatever this one is: autocast works on all."""
    monkeypatch.setattr(choice, "_without_bfloat16", lambda device: None)


def table(**columns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({name: columns.get(name, columns["arousal"]) for name in DIMENSIONS})


def labelled(values: np.ndarray) -> list[Utterance]:
    return [
        Utterance(id=str(n), corpus="c", arousal=v, valence=v, dominance=v)
        for n, v in enumerate(values.tolist())
    ]


def test_without_a_gate_the_reference_runs_and_the_reason_is_said(model, with_bfloat16):
    chosen = choose(model, "torch-bf16")
    assert chosen.backend == "torch-fp32"
    assert "not torch-bf16: the model folder has no gate.json" in str(chosen)
    automatic = choose(model)
    assert automatic.backend == "torch-fp32"
    assert set(automatic.refused) == set(by_speed()) - {"torch-fp32"}
    assert automatic.refused["ort-int8"] == "torch is faster for a log-mel encoder"


@pytest.mark.parametrize("with_amx", [False, True])
def test_bfloat16_of_torch_is_tried_first_where_the_processor_multiplies_tiles(
    model, with_bfloat16, monkeypatch, with_amx
):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: with_amx)
    first = next(iter(choose(model).refused))
    assert (first == "torch-bf16") is with_amx


def test_bfloat16_of_torch_is_chosen_only_where_it_pays(
    model, tmp_path, manifest, with_bfloat16, monkeypatch
):
    def chosen(folder: Path, device: str = "cpu") -> tuple[str, str | None]:
        write_gate(folder, {"torch-bf16": {"passed": True}}, "a set")
        choice = choose(folder, "auto", device)
        return choice.backend, choice.refused.get("torch-bf16")

    hears = hubert_model(tmp_path / "hears")
    torch.manual_seed(0)
    wide = {**small_runs.MODEL, "audio": {"encoder": "mel", "mel": {"width": 192, "blocks": 1}}}
    build_model(parse(ModelConfig, wide), manifest).save_pretrained(tmp_path / "wide")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert chosen(hears) == chosen(tmp_path / "wide") == ("torch-bf16", None)
    assert chosen(model) == ("torch-fp32", "single precision is as fast for networks less than 192 wide")
    assert chosen(model, "cuda")[0] == "torch-bf16"
    assert choose(model, "torch-bf16").backend == "torch-bf16", "asked for by name"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    backend, reason = chosen(hears)
    assert (backend, reason[:11]) == ("torch-fp32", "without AMX")


def test_a_runtime_without_graphs_says_that_there_is_no_export(model, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: True)  # as if it were installed
    assert "holds no export" in choose(model, "ort-fp32").refused["ort-fp32"]
    assert "holds no export" in unavailable(model, "ort-int8")


def test_a_passed_gate_opens_for_its_weights_only(model, manifest, with_bfloat16):
    write_gate(model, {"torch-bf16": {"passed": True}, "ort-int8": {"passed": True}}, "a set")
    assert choose(model, "torch-bf16").backend == "torch-bf16"
    torch.manual_seed(1)
    build_model(parse(ModelConfig, small_runs.MODEL), manifest).save_pretrained(model)
    assert "made for other weights" in choose(model, "torch-bf16").refused["torch-bf16"]


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ("{", "is damaged"),
        ('{"format": "x"}', "of another version"),
    ],
)
def test_a_gate_that_cannot_be_read_does_not_open(model, with_bfloat16, gate, reason):
    (model / GATE).write_text(gate)
    assert reason in choose(model, "torch-bf16").refused["torch-bf16"]


def test_a_failed_gate_stays_shut(model, with_bfloat16):
    write_gate(model, {"torch-bf16": {"passed": False, "why": "CCC of valence falls by 0.0100"}}, "a set")
    assert "CCC of valence falls by 0.0100" in str(choose(model, "torch-bf16"))


def test_bfloat16_needs_a_processor_that_has_it(model, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert "neither AVX512-BF16 nor AMX" in unavailable(model, "torch-bf16")


def test_a_runtime_that_is_not_installed_is_named_with_its_extra(model, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert unavailable(model, "openvino-int8") == "openvino is not installed; the extra 'openvino' has it"
    assert unavailable(model, "ort-fp32") == "onnxruntime is not installed; the extra 'onnx' has it"
    assert unavailable(model, "torch-fp32") is None


def test_a_compiled_front_end_is_for_models_that_have_one_and_for_gpus_and_only_by_name(
    model, tmp_path, monkeypatch
):
    name = "torch-bf16-compiled"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(choice, "find_spec", lambda name: object())
    hears = hubert_model(tmp_path / "hears")
    assert unavailable(hears, name) == "compiling pays on a GPU, the model is on cpu"
    assert unavailable(hears, name, "cuda") is None
    assert "no convolutional front end" in unavailable(model, name, "cuda")
    assert choose(hears, name, "cuda").backend == "torch-fp32"  # its gate has not been passed
    write_gate(hears, {"torch-bf16": {"passed": True}}, "a set")
    assert choose(hears, name, "cuda").backend == name
    assert choose(hears, "auto", "cuda").backend == "torch-bf16"
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert "triton is not installed" in unavailable(hears, name, "cuda")


@pytest.mark.slow  # compiling takes long
@pytest.mark.parametrize("compiler", ["eager", "inductor"])
def test_a_compiled_front_end_says_what_the_plain_one_says(compiler, manifest, tmp_path, monkeypatch):
    if compiler == "inductor" and shutil.which("g++") is None:
        pytest.skip("no C++ compiler, by which torch compiles for a processor")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=compiler))
    monkeypatch.setattr(front_end, "by_rows", lambda waveforms: False)  # as on a GPU
    folder = hubert_model(tmp_path / "model", width=64, channels=32)
    plain = Predictor.load(folder, "cpu")
    examples = plain.examples(manifest, manifest.root / "cache")
    with counted_graphs() as graphs:
        compiled, autocast = (
            with_backend(plain, folder, name).predict(examples, batch_seconds=8)[list(DIMENSIONS)].to_numpy()
            for name in ("torch-bf16-compiled", "torch-bf16")
        )
    np.testing.assert_allclose(compiled, autocast, atol=0 if compiler == "eager" else 0.01)
    assert 1 <= graphs() <= 2  # for batches of any length: one clip, and several


def hubert_model(folder: Path, **sizes: int) -> Path:
    audio = HubertEncoder.from_pretrained(save_hubert(folder / "hubert", **sizes))
    SerModel(SerConfig(fusion="audio", width=16, heads=2), audio).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def counted_graphs() -> Iterator[Callable[[], int]]:
    """How many graphs torch has compiled meanwhile."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


def test_an_unknown_backend_is_refused(model):
    with pytest.raises(InputError, match=r"unknown backend 'torch-bf17'.*torch-bf16"):
        choose(model, "torch-bf17")


def test_the_gate_opens_at_a_small_loss_of_concordance_and_shuts_at_a_large_one():
    values = np.random.default_rng(0).random(200)
    reference = table(arousal=values)
    small, large = (table(arousal=values, valence=0.5 + (values - 0.5) * by) for by in (0.95, 0.85))
    assert judge(reference, small, labelled(values))["passed"]
    verdict = judge(reference, large, labelled(values))
    assert not verdict["passed"]
    # Of x and s x around the mean, concordance is 2 s / (1 + s^2).
    shifted = (0.5 + (values - 0.5) * 0.85).mean() - values.mean()
    ratio = 2 * 0.85 / (1 + 0.85**2 + shifted**2 / values.var())
    assert verdict["ccc_drop"]["valence"] == pytest.approx(1 - ratio, abs=1e-9)
    assert verdict["ccc"]["valence"] == pytest.approx(1)
    assert verdict["why"] == f"CCC of valence falls by {1 - ratio:.4f}"


def test_without_labels_the_mean_deviation_decides_and_nan_never_passes():
    values = np.random.default_rng(0).random(50)
    unlabelled = [Utterance(id=str(n), corpus="c") for n in range(50)]
    assert judge(table(arousal=values), table(arousal=values + 0.009), unlabelled)["passed"]
    assert not judge(table(arousal=values), table(arousal=values, valence=values - 0.011), unlabelled)[
        "passed"
    ]
    for utterances in (unlabelled, labelled(values)):
        verdict = judge(table(arousal=values), table(arousal=values, valence=values * np.nan), utterances)
        assert not verdict["passed"]
        json.dumps(verdict, allow_nan=False)


def test_too_few_utterances_give_no_verdict():
    few = table(arousal=np.zeros(3))
    with pytest.raises(InputError, match="given 3 utterances; a verdict needs 20"):
        judge(few, few, labelled(np.zeros(3)))


def test_measured_on_a_manifest_bfloat16_is_near_the_network_but_not_it(model, manifest, with_bfloat16):
    found = run_gate(model, manifest, "small", manifest.root / "cache")
    verdict = found["verdicts"]["torch-bf16"]
    assert verdict["utterances"] == 24
    assert set(verdict["ccc_drop"]) == {f"{r}{d}" for r in ("", "audio_", "text_") for d in DIMENSIONS}
    assert 0 < max(verdict["mean_absolute_deviation"].values()) < 0.01
    assert json.loads((model / GATE).read_text())["backends"]["torch-bf16"] == verdict
    assert "ort-int8" in found["unavailable"]
    predictor, chosen = load(model, "torch-bf16", "cpu")
    assert chosen.backend == ("torch-bf16" if verdict["passed"] else "torch-fp32")
    assert predictor.name == Predictor.load(model, "cpu").name


def test_bfloat16_is_judged_without_a_processor_that_has_it_if_asked(model, manifest, monkeypatch):
    monkeypatch.setattr(choice, "_without_bfloat16", lambda device: "none here")
    with pytest.raises(InputError, match="no backend can be judged here: torch-bf16: none here"):
        run_gate(model, manifest, "small", manifest.root / "cache")
    found = run_gate(model, manifest, "small", manifest.root / "cache", emulate=True)
    assert set(found["verdicts"]) == {"torch-bf16"}
    assert choose(model, "torch-bf16").refused == {"torch-bf16": "none here"}, "judged, and still not used"


@pytest.fixture
def reader(manifest: Manifest, tmp_path: Path) -> Path:
    """A model of words alone."""
    torch.manual_seed(0)
    build_model(
        parse(ModelConfig, {**small_runs.MODEL, "audio": None, "fusion": "text"}), manifest
    ).save_pretrained(tmp_path / "reader")
    return tmp_path / "reader"


def test_openvino_has_nothing_to_do_for_a_model_of_words_alone(reader):
    for name in ("openvino-bf16", "openvino-int8"):
        assert "this model has none; ort-int8 runs the words" in unavailable(reader, name)


@pytest.mark.slow  # torch takes long to trace even a tiny network
def test_a_model_of_words_alone_is_exported_judged_and_run_in_int8_without_any_sound(
    reader, manifest, with_bfloat16
):
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    from multimodal_ser.export import export_model

    written = replace(manifest, utterances=[replace(u, audio=None) for u in manifest.utterances])
    parity = export_model(reader, reader / ONNX_FOLDER, ("bf16", "int8"), written, clips=8)
    assert parity["clips"] == "the words of 16 utterances"
    assert parity["precisions"]["fp32"]["max"] < 1e-5 < parity["precisions"]["int8"]["max"]
    found = run_gate(reader, written, "small")
    assert set(found["verdicts"]) == {"torch-bf16", "ort-int8"}
    deviation = found["verdicts"]["ort-int8"]["mean_absolute_deviation"]
    assert 0 < max(deviation.values()) < 0.05, "16 channels lose more than a real network"
    write_gate(reader, {"ort-int8": {"passed": True}}, "a set")
    assert choose(reader, "auto").backend == "ort-int8"
    backed = load(reader, "ort-int8", "cpu")[0].model
    texts = [u.text for u in written.utterances[:3]]
    together = backed.encode_text(*backed.text.tokenize([*texts, ""]))
    assert together.present.tolist() == [True, True, True, False]
    for row, text in enumerate(texts):
        alone = backed.encode_text(*backed.text.tokenize([text]))
        states = together.states[row][together.mask[row]]
        assert states.equal(alone.states[0]), "the scale of a text's numbers is its own"


@pytest.mark.slow  # torch takes 25 s to trace even a tiny network
def test_every_runtime_says_what_the_network_says(manifest, tmp_path, with_bfloat16):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    from multimodal_ser.export import export_model

    # On AMX OpenVINO computes narrower ones wrongly in bfloat16, which a gate would tell.
    model = hubert_model(tmp_path / "model", width=64, channels=32)
    export_model(model, model / ONNX_FOLDER, ("int8",), manifest, clips=4)
    plain = Predictor.load(model, "cpu")
    examples = plain.examples(manifest, manifest.root / "cache")
    found = {
        name: with_backend(plain, model, name).predict(examples)[list(DIMENSIONS)].to_numpy()
        for name, backend in BACKENDS.items()
        if backend.runtime != "torch" and unavailable(model, name) is None
    }
    assert set(found) == {"ort-fp32", "ort-int8", "openvino-bf16", "openvino-int8"}
    wanted = plain.predict(examples)[list(DIMENSIONS)].to_numpy()
    np.testing.assert_allclose(found["ort-fp32"], wanted, atol=2e-5)
    np.testing.assert_allclose(found["openvino-bf16"], wanted, atol=0.02)
    # How far int8 is from the network is for the gate to say: a network of few channels loses a tenth of the
    # scale. The backend has to say what the int8 graph says.
    session = onnxruntime.InferenceSession(graph_path(model / ONNX_FOLDER, "joined", "int8"))
    for row in (0, 7, 23):
        sound = examples.store[row].astype(np.float32)[None] / 32_768
        (said,) = session.run(["dimensions"], {"waveforms": sound, "lengths": np.array([sound.size])})
        np.testing.assert_allclose(found["ort-int8"][row], said[0], atol=0.02)


def test_a_graph_that_openvino_cannot_translate_is_refused_and_not_run(tmp_path):
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    (tmp_path / "audio.onnx").write_bytes(b"no graph at all")
    reason = choice._unreadable_by_openvino(tmp_path / "audio.onnx")
    assert reason == "OpenVINO cannot translate the audio graph"
