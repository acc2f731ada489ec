"""A front end whose output is kept trains like one that runs every time."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from tiny_checkpoints import save_hubert

from multimodal_ser import front_end_store as module
from multimodal_ser.audio_store import decode
from multimodal_ser.config import run
from multimodal_ser.errors import InputError
from multimodal_ser.front_end_store import encode_once
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import read
from multimodal_ser.models.hubert import HubertEncoder
from multimodal_ser.models.mel import MelConfig, MelEncoder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_hubert(tmp_path_factory.mktemp("hubert"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 14, 8)


def trained(manifest: Path, checkpoint: Path, folder: Path, form: str | None, **parts: Any) -> list[dict]:
    """The history of a run over the tiny HuBERT, without dropout."""
    audio = {"encoder": str(checkpoint), "cached_front_end": form}
    experiment = small_runs.configured(
        manifest,
        model={"fusion": "audio", "dropout": 0.0, "audio": audio},
        **{"training": {"epochs": 2, "learning_rate": 0.01}, **parts},
    )
    run(experiment, folder)
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_training_from_kept_output_is_that_of_an_uncached_one(
    manifest: Path, checkpoint: Path, tmp_path: Path
) -> None:
    wanted = trained(manifest, checkpoint, tmp_path / "plain", None)
    exact = trained(manifest, checkpoint, tmp_path / "fp32", "fp32")
    assert len(exact) == len(wanted) == 2
    for line, other in zip(wanted, exact, strict=True):
        assert other == pytest.approx(line, abs=2e-4)
    half = trained(manifest, checkpoint, tmp_path / "fp16", "fp16")
    assert half[0]["train_loss"] == pytest.approx(wanted[0]["train_loss"], abs=5e-3)
    part = small_runs.split(manifest, "development")
    said = []
    for name in ("plain", "fp32"):
        predictor = Predictor.load(tmp_path / name, "cpu")
        said.append(predictor.predict(predictor.examples(part, manifest.parent / "cache"))[list(DIMENSIONS)])
    assert said[1].to_numpy() == pytest.approx(said[0].to_numpy(), abs=1e-4)


@pytest.mark.parametrize(("form", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-3), ("bf16", 1e-2)])
def test_what_is_kept_is_what_the_front_end_says_of_each_clip_alone(
    manifest: Path, checkpoint: Path, tmp_path: Path, form: str, tolerance: float
) -> None:
    encoder = HubertEncoder.from_pretrained(checkpoint).eval()
    part = small_runs.split(manifest, "development")
    silent = replace(part.utterances[2], audio=None, text="nobody speaks")
    part = replace(part, utterances=[*part.utterances[:2], silent, *part.utterances[3:]])
    store = decode(part, tmp_path / "audio")
    kept = encode_once(encoder, store, form, tmp_path / "kept")
    assert len(kept) == len(part.utterances)
    assert len(kept[2]) == 0
    for index in (0, 1, 5):
        waveform = torch.from_numpy(store[index].astype("float32") / 32_768)[None]
        with torch.no_grad():
            alone, frames = encoder.encode_front_end(waveform, torch.tensor([waveform.shape[1]]))
        assert kept[index].shape == alone[0, : frames[0]].shape
        scale = alone.abs().max().item()
        torch.testing.assert_close(kept[index].float(), alone[0], rtol=0, atol=tolerance * scale)


def test_maps_are_found_again_and_other_weights_or_precision_have_their_own(
    manifest: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = HubertEncoder.from_pretrained(checkpoint).eval()
    store = decode(small_runs.split(manifest, "development"), tmp_path / "audio")
    first = encode_once(encoder, store, "fp16", tmp_path)
    asked = []
    monkeypatch.setattr(encoder, "encode_front_end", lambda *given: asked.append(given))
    assert encode_once(encoder, store, "fp16", tmp_path).shards == first.shards
    assert not asked
    monkeypatch.undo()
    assert encode_once(encoder, store, "bf16", tmp_path).shards != first.shards
    fewer = encode_once(encoder, store.rows([3, 1]), "fp16", tmp_path)
    assert torch.equal(fewer[0], first[3])
    with torch.no_grad():
        next(encoder.network.feature_extractor.parameters()).mul_(1.01)
    assert encode_once(encoder, store, "fp16", tmp_path).shards != first.shards


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"augmentation": {"noise": 0.5}}}, r"data\.augmentation changes the sound anew every time"),
        ({"model": {"audio": {"frozen": "nothing"}}}, r"needs a frozen front end"),
        ({"model": {"audio": {"encoder": "mel"}}}, r"needs a frozen front end: a trained encoder"),
        ({"objective": "task_distillation"}, r"'task_distillation' has to hear the waveforms"),
        ({"model": {"audio": {"cached_front_end": "int8"}}}, r"= 'int8'; allowed: fp16, bf16, fp32, or null"),
    ],
)
def test_what_cannot_be_kept_is_refused(manifest: Path, changes: dict, message: str) -> None:
    below = {"model": {"audio": {"encoder": "some/hubert", "cached_front_end": "fp16"}}}
    with pytest.raises(InputError, match=message):
        small_runs.configured(manifest, **small_runs.settings.merged(below, changes))


def test_an_encoder_without_such_a_front_end_and_a_full_disk_are_refused(
    manifest: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = decode(read(manifest), tmp_path / "audio")
    with pytest.raises(InputError, match="this encoder has no convolutional front end of its own"):
        encode_once(MelEncoder(MelConfig()), store, "fp16", tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(InputError, match=r"set data\.cache to a folder with more room"):
        encode_once(HubertEncoder.from_pretrained(checkpoint), store, "fp16", tmp_path)
