"""`train` on objectives that need no labels: an encoder folder comes out, and a killed run ends the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_runs
import torch
from tiny_checkpoints import save_hubert, save_ser_model

from multimodal_ser import audio
from multimodal_ser import config as experiments
from multimodal_ser.analysis.encoders import load_encoder
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import read, write
from multimodal_ser.models.encoder_folder import load_encoder as read_encoder
from multimodal_ser.models.ser import SerModel
from multimodal_ser.models.strength import load_strength
from multimodal_ser.objectives.intensity import frame_times
from multimodal_ser.objectives.objective import Objective
from multimodal_ser.objectives.reconstruction import MaskedReconstruction
from multimodal_ser.pseudo_labels import pseudo_label
from multimodal_ser.run_folder import Progress

AUDIO = {
    "mockingjay": {"bands": 12, "stack": 2, "width": 16, "blocks": 1, "heads": 2, "feedforward": 16},
    "npc": {"bands": 12, "width": 16, "blocks": 2, "kernel": 11, "groups": 2, "codes": 4, "code_width": 8},
}
LABELS = ("arousal", "valence", "dominance", "emotion", "speaker", "text")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings about which nothing is known, not even a split."""
    path = small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 14, 4)
    known = read(path)
    bare = [replace(u, split=None, **dict.fromkeys(LABELS)) for u in known.utterances]
    write(path, known.header, bare)
    return path


def configured(manifest: Path, encoder: str, **parts: Any) -> experiments.RunConfig:
    audio = {"encoder": encoder, **({encoder: AUDIO[encoder]} if encoder in AUDIO else {})}
    whole = {"objective": "reconstruction", "data": {"train": None, "development": None}}
    parts["data"] = {**whole["data"], **parts.get("data", {})}
    return small_runs.configured(manifest, **{**whole, "model": {"audio": audio}, **parts})


def history(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("encoder", ["mockingjay", "npc"])
def test_recordings_without_any_label_end_in_an_encoder_folder(
    manifest: Path, tmp_path: Path, encoder: str
) -> None:
    config = configured(manifest, encoder)
    progress = experiments.run(config, tmp_path / "run")
    loaded = load_encoder(tmp_path / "run")
    assert loaded.config == read_encoder(tmp_path / "run" / "model").config
    lines = history(tmp_path / "run")
    assert len(lines) == 3
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    before = (tmp_path / "run" / "model" / "model.safetensors").stat().st_mtime_ns
    assert experiments.run(config, tmp_path / "run") == progress
    assert (tmp_path / "run" / "model" / "model.safetensors").stat().st_mtime_ns == before


class Killed(BaseException):
    """Stands for a kill."""


def killed_in(step: int, monkeypatch: pytest.MonkeyPatch, config: Any, folder: Path) -> None:
    outputs, done = MaskedReconstruction.outputs, []

    def stopping(self: MaskedReconstruction, batch: Any) -> Any:
        done.extend([batch] * self.training)
        if self.training and len(done) == step:
            raise Killed
        return outputs(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(MaskedReconstruction, "outputs", stopping)
        with pytest.raises(Killed):
            experiments.run(config, folder)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_pretraining_that_was_killed_and_resumed_ends_like_one_that_was_not(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulation: int
) -> None:
    config = configured(manifest, "mockingjay", training={"accumulation": accumulation})
    whole: Progress = experiments.run(config, tmp_path / "whole")
    for step in (2, 3, 4):
        killed_in(step * accumulation, monkeypatch, config, tmp_path / "run")
    assert experiments.run(config, tmp_path / "run") == whole
    for name in ("history.jsonl", "model/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_what_is_hidden_changes_between_epochs_and_not_between_validations(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide, seen = MaskedReconstruction.hide, {True: {}, False: {}}

    def noting(self: MaskedReconstruction, mask: torch.Tensor, intensity: Any, ids: tuple) -> Any:
        hidden = hide(self, mask, intensity, ids)
        for row, name in enumerate(ids):
            chosen = hidden.chosen[row, : int(mask[row].sum())].tolist()
            seen[self.training].setdefault(name, []).append(tuple(chosen))
        return hidden

    monkeypatch.setattr(MaskedReconstruction, "hide", noting)
    random = {"spans": {"policy": "random", "span": 3}, "intensity": "none"}
    experiments.run(configured(manifest, "mockingjay", reconstruction=random), tmp_path / "run")
    assert {len(masks) for masks in seen[True].values()} == {3}
    assert sum(len(set(masks)) > 1 for masks in seen[True].values()) > 12
    assert {len(set(masks)) for masks in seen[False].values()} == {1}


def test_frame_labels_made_with_an_encoder_are_learned_from_the_same_start(
    manifest: Path, tmp_path: Path
) -> None:
    checkpoint = save_hubert(tmp_path / "hubert")
    all_train = tmp_path / "train.jsonl"
    known = read(manifest)
    header = replace(known.header, audio_root=str(known.root))
    write(all_train, header, [replace(u, split="train") for u in known.utterances])
    labelled = pseudo_label(read(all_train), checkpoint, tmp_path / "labels", layer=1, clusters=4)
    config = configured(
        labelled,
        str(checkpoint),
        objective="frame_alignment",
        frame_alignment={"clusters": 4, "projection": 8, "span": 2},
        data={"train": "train", "development": None, "cache": str(tmp_path / "cache")},
    )
    experiments.run(config, tmp_path / "run")
    assert set(history(tmp_path / "run")[0]) >= {"accuracy", "masked_share", "masked"}
    start, end = load_encoder(checkpoint).state_dict(), load_encoder(tmp_path / "run").state_dict()
    moved = {name for name in start if not torch.equal(start[name], end[name])}
    assert {"network.encoder.layers.0.attention.q_proj.weight", "network.masked_spec_embed"} <= moved
    assert not any("feature_extractor" in name for name in moved)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings whose emotions are known."""
    return small_runs.write_corpus(tmp_path_factory.mktemp("labelled"), 14, 4)


STRENGTH = {"neutral": "sadness", "network": {"bands": 8, "channels": [2], "recurrent": 4, "hidden": 4}}


def one_batch(objective: Objective, manifest: Path) -> Batch:
    """The first four utterances, as the loop would bring them."""
    utterances = read(manifest).utterances[:4]
    waves = [torch.from_numpy(audio.load(manifest.parent / u.audio)) for u in utterances]
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    nan = torch.full((4, 3), float("nan"))
    ids = tuple(u.id for u in utterances)
    return Batch(padded, lengths, None, None, nan, nan[:, :0], None, torch.arange(4), ids)


def intensity_of(manifest: Path, **parts: Any) -> tuple[Objective, Batch, torch.Tensor]:
    """The objective of an experiment, a batch, and the intensity (B, T) that its network is given."""
    config = configured(manifest, "mockingjay", reconstruction=parts)
    objective = experiments.OBJECTIVES["reconstruction"](config, read(manifest))
    batch = one_batch(objective, manifest)
    frames = objective.model.features(batch.waveforms, batch.lengths)[1].shape[1]
    assert objective(batch)["intensity"].isfinite()
    return objective, batch, objective.intensity(batch, frames)


def test_a_strength_network_is_trained_on_ranks_and_steers_the_reconstruction(
    labelled: Path, tmp_path: Path
) -> None:
    config = configured(
        labelled, "mockingjay", objective="strength", strength=STRENGTH, data={"train": "train"}
    )
    experiments.run(config, tmp_path / "strength")
    lines = history(tmp_path / "strength")
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    network = load_strength(tmp_path / "strength" / "model")
    assert network.config.classes == 2
    card = (tmp_path / "strength" / "model" / "README.md").read_text(encoding="utf-8")
    assert "# small strength network" in card
    assert "reconstruction.strength_model" in card
    assert "layers --encoder" not in card
    given = {"intensity": "strength", "strength_model": str(tmp_path / "strength")}
    objective, batch, intensity = intensity_of(labelled, **given)
    stack = objective.model.config.stack
    for row, length in enumerate(batch.lengths.tolist()):
        with torch.no_grad():
            told = network(batch.waveforms[row : row + 1, :length], torch.tensor([length])).frames[0]
        count = int(objective.model.frame_lengths(torch.tensor([length])))
        expected = np.interp(frame_times(count, stack), frame_times(len(told), 1), told.numpy())
        assert intensity[row, :count].numpy() == pytest.approx(expected, abs=1e-6)
        assert not intensity[row, count:].any()


def test_arousal_of_a_trained_model_steers_the_reconstruction(labelled: Path, tmp_path: Path) -> None:
    model = SerModel.from_pretrained(save_ser_model(tmp_path / "model"))
    given = {"intensity": "arousal", "arousal_model": str(tmp_path / "model")}
    objective, batch, intensity = intensity_of(labelled, **given)
    # Recordings shorter than a window of one second: one value each, what the model hears in all of it.
    for row, length in enumerate(batch.lengths.tolist()):
        wave, lengths = batch.waveforms[row : row + 1, :length], torch.tensor([length])
        with torch.no_grad():
            heard = model.read(model.encode(wave, lengths, *model.text.tokenize([""])), "audio")
        count = int(objective.model.frame_lengths(lengths))
        expected = float(heard.dimensions[0, 0].clamp(0, 1))
        assert intensity[row, :count].numpy() == pytest.approx(expected, abs=1e-5)
    assert len(set(intensity[:, 0].tolist())) == 4


def test_strength_wants_labels_of_training_utterances_and_nothing_else(
    labelled: Path, manifest: Path, tmp_path: Path
) -> None:
    cases = (
        (manifest, {}, STRENGTH, "18 of 18 lack emotion or audio, 'u000' first"),
        (labelled, {"train": "train", "development": "development"}, STRENGTH, "only training utterances"),
        (labelled, {"train": "train"}, {**STRENGTH, "neutral": "neutral"}, "a ranking needs 'neutral' and"),
    )
    for number, (where, data, strength, message) in enumerate(cases):
        config = configured(where, "mockingjay", objective="strength", strength=strength, data=data)
        with pytest.raises(InputError, match=message):
            experiments.run(config, tmp_path / str(number))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"reconstruction": {"intensity": "strength"}},
            "intensity by strength needs the folder of a trained",
        ),
        ({"reconstruction": {"strength_model": "x"}}, "strength_model = 'x': intensity by strength needs"),
        ({"reconstruction": {"intensity": "enery"}}, r"'enery' \(did you mean 'energy'\?\)"),
        ({"reconstruction": {"intensity": "arousal"}}, "needs the folder of a trained model"),
        ({"reconstruction": {"intensity": "none"}}, "spans.policy = 'intense' needs intensity"),
        ({"objective": "supervised"}, "data.development is null: a model is selected on development"),
        ({"model": {"audio": {"encoder": "mel"}}}, "trains mockingjay or npc; .* is a MelEncoder"),
        ({"objective": "frame_alignment"}, "needs audio and frame labels; `multimodal-ser pseudo_labels`"),
    ],
)
def test_what_cannot_be_pretrained_is_said(manifest: Path, tmp_path: Path, parts: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        experiments.run(configured(manifest, "mockingjay", **parts), tmp_path / "run")


def test_settings_of_other_objectives_may_change_in_a_run(manifest: Path, tmp_path: Path) -> None:
    experiments.run(configured(manifest, "mockingjay", training={"max_steps": 1}), tmp_path)
    other = {"frame_alignment": {"clusters": 9}, "loss": {"classes": 1.0}, "training": {"max_steps": 1}}
    assert experiments.run(configured(manifest, "mockingjay", **other), tmp_path).step == 1
    mine = {"reconstruction": {"use_intensity": False}, "training": {"max_steps": 1}}
    with pytest.raises(InputError, match=r"reconstruction\.use_intensity was True and is now False"):
        experiments.run(configured(manifest, "mockingjay", **mine), tmp_path)


def test_random_numbers_of_an_utterance_follow_from_seed_epoch_and_name() -> None:
    def drawn(seed: int, epoch: int, name: str, training: bool = True) -> float:
        objective = Objective()
        objective.seed = seed
        objective.begin_epoch(epoch)
        return objective.train(training).random_of(name).random()

    assert drawn(0, 1, "a") == drawn(0, 1, "a")
    others = [drawn(1, 1, "a"), drawn(0, 2, "a"), drawn(0, 1, "b"), drawn(0, 1, "a", training=False)]
    assert len({drawn(0, 1, "a"), *others}) == 5
    assert drawn(0, 1, "a", training=False) == drawn(0, 2, "a", training=False)
