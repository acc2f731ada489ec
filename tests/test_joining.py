"""Joining: each reading learns what it is told, and nobody's labels are taken for another's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_runs
import torch

from multimodal_ser import config as experiments
from multimodal_ser.data import Batch
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import read, write
from multimodal_ser.metrics import ccc
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import READINGS, SerConfig, SerModel
from multimodal_ser.models.text import TextEncoder
from multimodal_ser.objectives.joining import Joining, JoiningConfig

SHARE = {"arousal": 0.7, "valence": 0.1, "dominance": 0.5}


def text_encoder(words: str = "good and bad") -> TextEncoder:
    return TextEncoder.small([words], 16, 1, 2)


def network(fusion: str = "cross_attention", words: str = "good and bad") -> SerModel:
    mel = MelEncoder(MelConfig(bands=12, width=16, blocks=1, heads=2, feedforward=16))
    parts = {"audio": mel if fusion != "text" else None}
    parts["text"] = text_encoder(words) if fusion != "audio" else None
    return SerModel(SerConfig(fusion=fusion, width=16, heads=2), **parts)


def batch(rows: int = 3) -> Batch:
    torch.manual_seed(1)
    ids, mask = text_encoder().tokenize(["good", "bad and bad", "and"][:rows])
    return Batch(
        torch.randn(rows, 8_000), torch.full((rows,), 8_000), ids, mask, torch.rand(rows, 3),
        torch.zeros(rows, 0), None, torch.arange(rows), tuple("abc"[:rows]),
    )  # fmt: skip


def test_the_fused_reading_is_told_the_weighted_mean_of_the_teachers_of_voice_and_words() -> None:
    torch.manual_seed(0)
    hearing, reader = [network("audio"), network("audio")], network("text")
    objective = Joining(network(), JoiningConfig(audio_share=SHARE), hearing, reader)
    given = batch()
    told = objective.told(given)
    heard = [teacher(given.waveforms, given.lengths, None, None).dimensions for teacher in hearing]
    read_ = reader(None, None, given.token_ids, given.token_mask).dimensions
    torch.testing.assert_close(told["audio"], (heard[0] + heard[1]) / 2)
    torch.testing.assert_close(told["text"], read_)
    share = torch.tensor([0.7, 0.1, 0.5])
    torch.testing.assert_close(told["fused"], share * told["audio"] + (1 - share) * read_)


def test_without_audio_teachers_the_labels_are_those_of_the_sound_and_a_missing_one_counts_nowhere() -> None:
    objective = Joining(network(), JoiningConfig(audio_share=SHARE), [], network("text"))
    given = batch()
    given.targets[1, 0] = torch.nan
    outputs = objective.outputs(given)
    assert torch.equal(outputs["audio_told"].nan_to_num(9), given.targets.nan_to_num(9))
    assert bool(outputs["fused_told"][1, 0].isnan())
    assert not bool(outputs["text_told"].isnan().any())
    losses = objective.losses(outputs)
    assert bool(losses["loss"].isfinite())
    perfect = {name: outputs[f"{name}_told"].nan_to_num(0.3) for name in READINGS}
    nothing = objective.losses({**outputs, **perfect})
    assert float(nothing["loss"]) == pytest.approx(0.0, abs=1e-6)


def test_teachers_are_neither_trained_nor_saved() -> None:
    objective = Joining(network(), JoiningConfig(), [network("audio")], network("text"))
    assert all(name.startswith("model.") for name in objective.state_dict())
    assert len(list(objective.parameters())) == len(list(objective.model.parameters()))


@pytest.mark.parametrize(
    ("model", "audio", "text", "said"),
    [
        ("audio", "audio", "text", "needs a fusion of audio and text, not 'audio'"),
        ("cross_attention", "text", "text", "a teacher for audio has the readings text"),
        (
            "cross_attention",
            "audio",
            "cross_attention",
            "a teacher for text has the readings fused, audio, text",
        ),
    ],
)
def test_models_of_the_wrong_kind_are_refused(model: str, audio: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Joining(network(model), JoiningConfig(), [network(audio)], network(text))


def test_another_vocabulary_than_the_text_teachers_is_refused() -> None:
    with pytest.raises(InputError, match=r"other vocabularies; set model\.text\.encoder to the folder"):
        Joining(network(), JoiningConfig(), [], network("text", "other words"))


@pytest.mark.parametrize(
    ("share", "said"),
    [
        ({"arousal": 2.0, "valence": 0.1, "dominance": 0.1}, "a share from 0 to 1"),
        ({"arousl": 0.5}, "did you mean 'arousal'"),
        ({"arousal": 0.5, "valence": 0.5}, "dominance is missing"),
    ],
)
def test_shares_are_checked(share: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        JoiningConfig(audio_share=share)


@pytest.mark.slow
def test_a_model_joined_by_train_says_what_its_teachers_say(tmp_path: Path) -> None:
    manifest = small_runs.write_corpus(tmp_path / "corpus", train=40)
    learning = {"epochs": 6, "learning_rate": 0.01}
    for fusion in ("audio", "text"):
        taught = small_runs.configured(manifest, model={"fusion": fusion}, training=learning)
        experiments.run(taught, tmp_path / fusion)
    known = read(manifest)
    bare = [replace(u, arousal=None, valence=None, dominance=None) for u in known.utterances]
    unlabelled = tmp_path / "manifest.jsonl"
    write(unlabelled, replace(known.header, audio_root=str(known.root)), bare)
    config = small_runs.configured(
        unlabelled,
        objective="joining",
        joining={"audio_teachers": [str(tmp_path / "audio")], "text_teacher": str(tmp_path / "text")},
        model={"audio": {"encoder": str(tmp_path / "audio")}, "text": {"encoder": str(tmp_path / "text")}},
        training={"epochs": 20, "learning_rate": 0.01},
        data={"cache": str(tmp_path / "cache")},
    )
    experiments.run(config, tmp_path / "joined")
    development, said = known.split("development"), {}
    for name in ("audio", "text", "joined"):
        predictor = Predictor.load(tmp_path / name, "cpu")
        said[name] = predictor.predict(predictor.examples(development, tmp_path / "cache"))
    for reading, dimension in (("audio", "arousal"), ("text", "valence")):
        assert ccc(said["joined"][f"{reading}_{dimension}"], said[reading][dimension]) > 0.8
    share = JoiningConfig().audio_share["arousal"]
    mixed = share * said["audio"]["arousal"] + (1 - share) * said["text"]["arousal"]
    assert ccc(said["joined"]["arousal"], mixed) > 0.8
    assert np.isfinite(said["joined"][list(DIMENSIONS)].to_numpy()).all()
