"""Predictions are those of the model, in the order of the utterances; intervals cover as they promise."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_runs
import torch

from multimodal_ser.audio_store import decode
from multimodal_ser.config import ModelConfig, build_model
from multimodal_ser.data import Collate, Examples, loader
from multimodal_ser.errors import InputError
from multimodal_ser.inference import CALIBRATION, Predictor, calibrate, chosen_device, model_folder
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Header, Manifest, Utterance
from multimodal_ser.metrics import conformal_radius
from multimodal_ser.models.ser import SerModel
from multimodal_ser.settings import parse

CLASSES = ("happiness", "sadness")


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    """Labelled utterances and the folder of their decoded audio."""
    folder = tmp_path_factory.mktemp("corpus")
    return small_runs.split(small_runs.write_corpus(folder, 2, 24), "development"), folder / "cache"


@pytest.fixture
def predictor(development: tuple[Manifest, Path]) -> Predictor:
    """An untrained model."""
    torch.manual_seed(0)
    config = parse(ModelConfig, {**small_runs.MODEL, "classes": list(CLASSES)})
    return Predictor(build_model(config, development[0]))


def test_predictions_are_the_readings_of_each_utterance_alone_in_the_given_order(
    predictor: Predictor, development: tuple[Manifest, Path]
) -> None:
    examples = predictor.examples(*development)
    table = predictor.predict(examples, batch_seconds=2.0)
    assert table["id"].tolist() == [u.id for u in development[0].utterances]
    model = predictor.model
    collate = Collate(CLASSES, model.text.tokenize)
    for row in (0, 7, 23):
        (batch,) = loader(examples, collate, [[row]])
        batch = batch.to("cpu")
        with torch.no_grad():
            encoded = model.encode(batch.waveforms, batch.lengths, batch.token_ids, batch.token_mask)
            said = {reading: model.read(encoded, reading) for reading in ("fused", "audio", "text")}
        for column, name in enumerate(DIMENSIONS):
            for reading, prefix in (("fused", ""), ("audio", "audio_"), ("text", "text_")):
                wanted = float(said[reading].dimensions[0, column])
                assert table.loc[row, f"{prefix}{name}"] == pytest.approx(wanted, abs=1e-5)
        shares = said["fused"].logits.softmax(1)[0].tolist()
        assert table.loc[row, [f"share_{name}" for name in CLASSES]].tolist() == pytest.approx(
            shares, abs=1e-5
        )


def test_how_utterances_are_batched_does_not_show(
    predictor: Predictor, development: tuple[Manifest, Path]
) -> None:
    examples = predictor.examples(*development)
    one, other = (predictor.predict(examples, seconds) for seconds in (0.5, 100.0))
    numbers = one.columns[1:]
    np.testing.assert_allclose(one[numbers], other[numbers], atol=1e-5)


def test_without_calibration_there_are_no_intervals(
    predictor: Predictor, development: tuple[Manifest, Path]
) -> None:
    table = predictor.predict(predictor.examples(*development))
    assert table[[f"{name}_{end}" for name in DIMENSIONS for end in ("low", "high")]].isna().all(axis=None)


def test_the_half_width_is_the_conformal_quantile_of_development_residuals(
    predictor: Predictor, development: tuple[Manifest, Path], tmp_path: Path
) -> None:
    examples = predictor.examples(*development)
    table = predictor.predict(examples)
    made = calibrate(predictor, examples, tmp_path, coverage=0.8)
    for reading, prefix in (("fused", ""), ("audio", "audio_"), ("text", "text_")):
        for name in DIMENSIONS:
            labels = np.array([getattr(u, name) for u in development[0].utterances])
            ordered = np.sort(np.abs(labels - table[f"{prefix}{name}"]))
            # Of 24 residuals the ceil(25 * 0.8) = 20th.
            assert made["radius"][reading][name] == pytest.approx(ordered[19])
    assert made["coverage"] == 0.8
    assert json.loads((tmp_path / CALIBRATION).read_text("utf-8")) == made
    again = predictor.predict(examples)
    for name in DIMENSIONS:
        value, radius = again[name], made["radius"]["fused"][name]
        low, high = (value - radius).clip(lower=0), (value + radius).clip(upper=1)
        np.testing.assert_allclose(again[f"{name}_low"], low.where(low < value, value), atol=1e-7)
        np.testing.assert_allclose(again[f"{name}_high"], high.where(high > value, value), atol=1e-7)


def test_intervals_end_where_the_scale_does_but_hold_their_value(predictor: Predictor) -> None:
    predictor.calibration = {"radius": {"fused": {"arousal": 0.3}}}
    low, high = predictor.interval("fused", "arousal", np.array([-0.1, 0.1, 0.5, 0.9, 1.1]))
    np.testing.assert_allclose(low, [-0.1, 0, 0.2, 0.6, 0.8])
    np.testing.assert_allclose(high, [0.2, 0.4, 0.8, 1, 1.1])


def test_intervals_cover_new_data_of_the_same_kind_as_often_as_they_promise() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        radius = conformal_radius(generator.standard_t(3, 60), 0.9)
        covered.append((np.abs(generator.standard_t(3, 200)) <= radius).mean())
    assert np.mean(covered) == pytest.approx(55 / 61, abs=0.01)  # ceil(61 * 0.9) / 61


def test_too_little_development_data_promise_nothing(
    predictor: Predictor, development: tuple[Manifest, Path], tmp_path: Path
) -> None:
    manifest, cache = development
    few = replace(
        manifest,
        utterances=[
            replace(u, valence=None if n else u.valence) for n, u in enumerate(manifest.utterances[:5])
        ],
    )
    examples = Examples(few, decode(few, cache), CLASSES)
    made = calibrate(predictor, examples, tmp_path, coverage=0.9)
    assert made["radius"]["fused"] == {"arousal": None, "valence": None, "dominance": None}
    assert predictor.predict(examples)["arousal_low"].isna().all()


def test_a_model_folder_gives_the_same_predictions_and_knows_its_name(
    predictor: Predictor, development: tuple[Manifest, Path], tmp_path: Path
) -> None:
    examples = predictor.examples(*development)
    predictor.model.save_pretrained(tmp_path / "run" / "model")
    calibrate(predictor, examples, tmp_path / "run" / "model")
    wanted = predictor.predict(examples)
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        loaded = Predictor.load(folder, "cpu")
        assert len(loaded.name) == 16
        assert not loaded.model.training
        made = loaded.predict(loaded.examples(*development))
        assert made.columns.tolist() == wanted.columns.tolist()
        np.testing.assert_allclose(made[made.columns[1:]], wanted[made.columns[1:]], atol=1e-6)


def test_other_weights_have_another_name(
    predictor: Predictor, development: tuple[Manifest, Path], tmp_path: Path
) -> None:
    predictor.model.save_pretrained(tmp_path / "a")
    with torch.no_grad():
        next(predictor.model.parameters()).add_(1e-3)
    predictor.model.save_pretrained(tmp_path / "b")
    assert Predictor.load(tmp_path / "a", "cpu").name != Predictor.load(tmp_path / "b", "cpu").name


def test_a_text_model_needs_no_audio_at_all(tmp_path: Path) -> None:
    texts = ["good day", "", "bad"]
    manifest = Manifest(
        Header("texts"), [Utterance(id=f"{n:04d}", corpus="texts", text=text) for n, text in enumerate(texts)]
    )
    config = parse(ModelConfig, {**small_runs.MODEL, "fusion": "text"})
    predictor = Predictor(build_model(config, manifest))
    table = predictor.predict(predictor.examples(manifest, tmp_path / "never"))
    assert table["id"].tolist() == ["0000", "0001", "0002"]
    assert table[list(DIMENSIONS)].notna().all(axis=None)
    assert not (tmp_path / "never").exists()


def test_a_long_and_a_silent_utterance_stand_beside_each_other(
    predictor: Predictor, development: tuple[Manifest, Path]
) -> None:
    manifest, cache = development
    mixed = [replace(manifest.utterances[0], audio=None, text=None), *manifest.utterances[1:4]]
    part = replace(manifest, utterances=mixed)
    table = predictor.predict(predictor.examples(part, cache))
    assert table[list(DIMENSIONS)].notna().all(axis=None)
    assert table.loc[0, "arousal"] == pytest.approx(table.loc[0, "text_arousal"], abs=1e-6)


def test_what_is_no_model_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model folder"):
        model_folder(tmp_path / "missing")
    with pytest.raises(InputError, match=r"it holds no config\.json"):
        Predictor.load(tmp_path, "cpu")


def test_a_model_folder_is_found_within_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    assert model_folder(tmp_path) == tmp_path / "model"
    assert model_folder(os.fspath(tmp_path / "model")) == tmp_path / "model"


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "meta"])
def test_a_device_that_is_not_usable_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"--device {name}: not usable here .*allowed: auto, cpu, cuda, mps"):
        chosen_device(name)


def test_the_usual_device_is_a_gpu_where_there_is_one() -> None:
    kind = chosen_device("auto").type
    assert kind == ("cuda" if torch.cuda.is_available() else kind)
    assert chosen_device("cpu") == torch.device("cpu")


def test_a_predictor_is_where_its_model_is(predictor: Predictor) -> None:
    assert predictor.device == torch.device("cpu")
    assert isinstance(predictor.model, SerModel)
