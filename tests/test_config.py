"""An experiment file becomes a run folder that can be gone on with, repeated, and refused when it changed."""

import json
import os
import platform
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_runs
import torch
from safetensors.torch import load_file

from multimodal_ser import __version__, settings
from multimodal_ser import config as module
from multimodal_ser.cache import hash_file
from multimodal_ser.cli import main
from multimodal_ser.config import (
    AudioConfig,
    ModelConfig,
    RunConfig,
    TextConfig,
    build_audio,
    build_text,
    load_config,
    load_manifest,
    run,
)
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Header, read, write
from multimodal_ser.models import audio_branch


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus."""
    return small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 14, 8)


@pytest.fixture(scope="module")
def finished(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    run(small_runs.configured(manifest, training={"max_steps": 4}), folder)
    return folder


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_file_becomes_a_configuration_and_the_rest_are_defaults(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("model: {fusion: audio, classes: [anger, fear]}\nloss: {classes: 1}\n", encoding="utf-8")
    config = load_config(path, ["training.learning_rates={model.audio.: 1e-5}"])
    assert config.model.fusion == "audio"
    assert config.model.above_encoders.classes == ("anger", "fear")
    assert config.training.learning_rates == {"model.audio.": 1e-5}
    assert config.model.text == TextConfig()
    assert config.objective == "supervised"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "objective=superwised",
            r"objective = 'superwised' \(did you mean 'supervised'\?\); known: supervised",
        ),
        ("modle.width=3", r"the configuration: unknown key 'modle' \(did you mean 'model'\?\)"),
        ("model.audio.mel.band=3", r"model\.audio\.mel: unknown key 'band' \(did you mean 'bands'\?\)"),
        ("model.audio.frozen=frontend", r"model\.audio\.frozen = 'frontend' \(did you mean 'front_end'\?\)"),
        ("model.text.frozen=yes", r"model\.text\.frozen = True: expected text"),
        ("model.classes=[angry]", r"model\.classes: 'angry'.*known: neutral"),
        ("model.fusion=attention", "unknown fusion 'attention'"),
        ("training.epochs=many", r"training\.epochs = 'many': expected a whole number"),
    ],
)
def test_what_a_file_says_wrongly_is_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_config(path, [change])


def test_a_run_leaves_everything_that_describes_it(finished: Path, manifest: Path) -> None:
    assert {path.name for path in finished.iterdir()} >= {
        "config.resolved.yaml", "environment.json", "history.jsonl", "checkpoints", "model",
    }  # fmt: skip
    config = small_runs.configured(manifest, training={"max_steps": 4})
    assert load_config(finished / "config.resolved.yaml") == config
    facts = json.loads((finished / "environment.json").read_text("utf-8"))
    assert facts["multimodal_ser"] == __version__
    assert facts["python"] == platform.python_version()
    assert facts["packages"]["torch"] == torch.__version__
    assert facts["seed"] == 0
    assert facts["processes"] == 1
    assert facts["manifest_hash"] == hash_file(manifest)
    assert set(facts) >= {"commit", "platform", "devices", "cuda"}


def test_the_model_folder_holds_the_best_weights_and_predicts(finished: Path, manifest: Path) -> None:
    best = load_file(finished / "checkpoints" / "best.safetensors")
    kept = load_file(finished / "model" / "model.safetensors")
    assert best.keys() == kept.keys()
    assert all(torch.equal(best[name], kept[name]) for name in best)
    predictor = Predictor.load(finished, "cpu")
    development = read(manifest).split("development")
    table = predictor.predict(predictor.examples(development, manifest.parent / "cache"))
    assert table["id"].tolist() == [u.id for u in development.utterances]
    assert predictor.calibration["utterances"] == 8


def test_a_finished_run_does_nothing_when_repeated(
    finished: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stamps(finished)
    monkeypatch.setattr(module, "build_model", None)
    monkeypatch.setattr(module, "decoded", None)
    progress = run(small_runs.configured(manifest, training={"max_steps": 4}), finished)
    assert (progress.step, progress.finished) == (4, True)
    assert stamps(finished) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": {"hide": 0.2}}, r"loss\.hide was 0\.1 and is now 0\.2"),
        ({"model": {"width": 32}}, r"model\.width was 16 and is now 32"),
        ({"training": {"max_steps": 6}}, r"training\.max_steps was 4 and is now 6"),
        ({"data": {"train": "development"}}, "utterances are others, or said otherwise"),
    ],
)
def test_other_settings_are_refused_and_leave_the_folder_as_it_was(
    finished: Path, manifest: Path, changes: dict[str, Any], message: str
) -> None:
    before = stamps(finished)
    parts = settings.merged({"training": {"max_steps": 4}}, changes)
    with pytest.raises(InputError, match=message):
        run(small_runs.configured(manifest, **parts), finished)
    assert stamps(finished) == before


def test_changed_labels_are_refused(finished: Path, manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(manifest.parent, tmp_path / "corpus")
    found = read(tmp_path / "corpus" / manifest.name)
    utterances = [replace(found.utterances[0], arousal=0.987), *found.utterances[1:]]
    write(tmp_path / "corpus" / manifest.name, Header("small", audio_root="."), utterances)
    config = small_runs.configured(tmp_path / "corpus" / manifest.name, training={"max_steps": 4})
    with pytest.raises(InputError, match="utterances are others, or said otherwise"):
        run(config, finished)


def test_a_corpus_that_moved_is_the_same_corpus(finished: Path, manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(manifest.parent, tmp_path / "moved")
    config = small_runs.configured(
        tmp_path / "moved" / manifest.name, training={"max_steps": 4, "workers": 1}
    )
    assert run(config, finished).finished


def test_restart_forgets_what_was_there(finished: Path, manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    config = small_runs.configured(manifest, training={"max_steps": 2})
    assert run(config, folder, restart=True).step == 2
    steps = [json.loads(line)["step"] for line in (folder / "history.jsonl").read_text("utf-8").splitlines()]
    assert steps == [2]


def test_a_run_that_was_killed_behind_its_training_still_gets_its_model(
    finished: Path, manifest: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    wanted = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "model" / "calibration.json").unlink()  # it is written last
    (folder / "model" / "model.safetensors").write_bytes(b"cut off")
    run(small_runs.configured(manifest, training={"max_steps": 4}), folder)
    assert (folder / "model" / "model.safetensors").read_bytes() == wanted
    original, again = ((at / "model" / "calibration.json").read_text("utf-8") for at in (finished, folder))
    assert again == original


def test_a_manifest_of_texts_trains_a_text_model(manifest: Path, tmp_path: Path) -> None:
    spoken = read(manifest)
    written = [replace(u, audio=None) for u in spoken.utterances]
    write(tmp_path / "texts.jsonl", Header("texts"), written)
    config = small_runs.configured(
        tmp_path / "texts.jsonl", model={"fusion": "text"}, training={"max_steps": 2, "batch_seconds": 10.0}
    )
    assert run(config, tmp_path / "run").step == 2
    assert Predictor.load(tmp_path / "run", "cpu").model.readings == ("text",)


def test_utterances_with_and_without_audio_or_words_train_together(manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(manifest.parent, tmp_path / "corpus")
    path = tmp_path / "corpus" / "manifest.jsonl"
    utterances = [
        replace(u, audio=None) if n % 3 == 0 else replace(u, text=None) if n % 3 == 1 else u
        for n, u in enumerate(read(path).utterances)
    ]
    write(path, Header("small", audio_root="."), utterances)
    config = small_runs.configured(
        path,
        training={"max_steps": 3},
        data={"augmentation": {"gain": 0.5}, "transcripts": {"corrupted": 0.5}},
    )
    progress = run(config, tmp_path / "run")
    assert progress.step == 3
    assert progress.best_score is not None


def test_folds_share_one_decoding(manifest: Path, tmp_path: Path) -> None:
    found = read(manifest)
    folded = [replace(u, fold=n % 3 + 1) for n, u in enumerate(found.utterances)]
    write(manifest.parent / "folded.jsonl", Header("small", audio_root="."), folded)
    for fold in (1, 2):
        config = small_runs.configured(
            manifest.parent / "folded.jsonl",
            data={"fold": fold, "cache": os.fspath(tmp_path / "cache")},
            training={"max_steps": 1},
        )
        parts = {name: load_manifest(config.data).split(name) for name in ("train", "development", "test")}
        assert {u.fold for u in parts["test"].utterances} == {fold}
        assert {u.fold for u in parts["development"].utterances} == {fold + 1}
        run(config, tmp_path / f"run{fold}")
    assert len(list((tmp_path / "cache").glob("*.int16"))) == 1


def test_a_run_needs_a_manifest_and_its_splits(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.manifest is not set: --set data\.manifest=PATH"):
        run(RunConfig(), tmp_path / "run")
    config = small_runs.configured(manifest, data={"development": "test"})
    with pytest.raises(InputError, match="no utterance of 'small' is in split 'test'"):
        run(config, tmp_path / "run")


def test_a_fold_that_does_not_exist_is_refused(manifest: Path) -> None:
    config = small_runs.configured(manifest, data={"fold": 2})
    with pytest.raises(
        InputError, match="fold 2 was asked for, but no utterance of this manifest has a fold"
    ):
        load_manifest(config.data)


class Encoder(torch.nn.Linear):
    """Stands for a pretrained encoder; remembers how it was asked for."""

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> "Encoder":
        made = cls(2, 2)
        made.asked = (name, options)
        return made


@pytest.mark.parametrize(
    ("config", "kind", "options", "trains"),
    [
        (AudioConfig("a/hubert"), "hubert", {"frozen_front_end": True}, True),
        (AudioConfig("a/hubert", frozen="nothing"), "hubert", {"frozen_front_end": False}, True),
        (AudioConfig("a/Whisper-tiny", frozen="all"), "whisper", {"frozen_front_end": True}, False),
        (AudioConfig("folder", "hubert", 3), "hubert", {"frozen_front_end": True, "keep_layers": 3}, True),
    ],
)
def test_pretrained_audio_encoders_are_loaded_and_frozen_as_said(
    monkeypatch: pytest.MonkeyPatch, config: AudioConfig, kind: str, options: dict, trains: bool
) -> None:
    kinds = []
    monkeypatch.setattr(audio_branch, "audio_encoder", lambda name: kinds.append(name) or Encoder)
    made = build_audio(config)
    assert kinds == [kind]
    assert made.asked == (config.encoder, options)
    assert {p.requires_grad for p in made.parameters()} == {trains}


def test_the_words_of_development_utterances_do_not_reach_the_vocabulary(manifest: Path) -> None:
    training = small_runs.split(manifest, "train", text="hello")
    encoder = build_text(TextConfig("small", width=16, blocks=1), training)
    assert "hello" in encoder.tokenizer.get_vocab()
    assert "good" not in encoder.tokenizer.get_vocab()


def test_only_what_is_saved_with_the_weights_is_above_the_encoders() -> None:
    above = ModelConfig(width=64, classes=("anger",)).above_encoders
    assert (type(above).__name__, above.width, above.classes) == ("SerConfig", 64, ("anger",))


# Runs `train` and kills itself in a step, as often as it is asked to.
KILLED = """
import os, signal, sys
from multimodal_ser.cli import main
from multimodal_ser.objectives.supervised import Supervised

name, step = os.environ.get("STOP", "none:0").split(":")
outputs, done = Supervised.outputs, []

def stopping(self, batch):
    done.extend([batch] * self.training)
    if self.training and len(done) == int(step):
        os.kill(os.getpid(), getattr(signal, name))
    return outputs(self, batch)

Supervised.outputs = stopping
sys.exit(main(["train", *sys.argv[1:]]))
"""


@pytest.mark.slow  # starts five processes, each with its own torch
def test_a_run_killed_three_times_and_stopped_once_ends_bit_for_bit_like_one_that_was_not(
    manifest: Path, tmp_path: Path
) -> None:
    script, experiment = tmp_path / "killed.py", tmp_path / "experiment.yaml"
    script.write_text(KILLED, encoding="utf-8")
    values = small_runs.values(
        manifest, data={"augmentation": {"gain": 0.5, "noise": 0.5}}, training={"epochs": 5}
    )
    experiment.write_text(settings.dump(values), encoding="utf-8")

    def train(folder: str, stop: str = "none:0") -> tuple[int, str]:
        done = small_runs.python(script, experiment, "-o", tmp_path / folder, STOP=stop)
        return done.returncode, done.stderr

    assert train("whole")[0] == 0
    assert train("run", "SIGKILL:3")[0] == -signal.SIGKILL
    assert train("run", "SIGKILL:4")[0] == -signal.SIGKILL
    code, said = train("run", "SIGTERM:2")
    assert code == 130, said
    assert "the same command goes on from there" in said
    assert train("run", "SIGKILL:2")[0] == -signal.SIGKILL
    assert train("run")[0] == 0
    for name in ("history.jsonl", "model/model.safetensors", "model/calibration.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("development", "named"), [("development", "development data"), (None, "the training data itself")]
)
def test_train_says_what_its_best_score_was_measured_on(
    development: str | None, named: str, manifest: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    experiment = tmp_path / "experiment.yaml"
    values = small_runs.values(manifest, data={"development": development})
    experiment.write_text(settings.dump(values), encoding="utf-8")
    ended = SimpleNamespace(best_score=0.5, best_step=2, step=3)
    monkeypatch.setattr(module, "run", lambda *_: ended)
    assert main(["train", str(experiment), "-o", str(tmp_path / "run")]) == 0
    assert f"best score 0.5000 on {named} at step 2 of 3" in capsys.readouterr().out


def test_dimensions_of_the_history_are_named(finished: Path) -> None:
    line = json.loads((finished / "history.jsonl").read_text("utf-8").splitlines()[-1])
    assert {f"{reading}_{name}" for reading in ("fused", "audio", "text") for name in DIMENSIONS} <= set(line)


def test_blocks_of_whisper_cannot_be_dropped() -> None:
    audio = module.AudioConfig(encoder="openai/whisper-base", keep_layers=2)
    with pytest.raises(
        InputError, match=r"keep_layers = 2: the Whisper encoder 'openai/whisper-base' is kept whole"
    ):
        module.build_audio(audio)
