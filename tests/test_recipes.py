"""Every experiment of every recipe is trained for two steps; scripts go from the corpus to the table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_msp_podcast import invent, write_tree
from test_msp_podcast import CLIPS
from tiny_checkpoints import save_distilbert, save_hubert, save_whisper, tiny_changes

from multimodal_ser import config as experiments
from multimodal_ser.corpora.preparation import prepare

RECIPES = Path(__file__).parents[1] / "recipes"
CONFIGS = [
    path
    for path in sorted(RECIPES.glob("*/*.yaml"))
    if experiments.load_config(path).objective == "supervised"  # the others: test_pretraining_recipes.py
]
# One of each kind of encoder and fusion; the others take too long for the default tests.
QUICK = {
    "msp_podcast/audio_text",
    "emobank/text",
    "emodb/mel",
    "synthetic/concat",
}
SCRIPTS = sorted(RECIPES.glob("*/run.sh"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "hubert": save_hubert(folder / "hubert"),
        "whisper": save_whisper(folder / "whisper"),
        "text": save_distilbert(folder / "distilbert"),
    }


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    options = {"speakers": 7, "utterances": 3, "seed": 0, "workers": 1}
    return prepare("synthetic", folder / "corpus", folder / "manifest", options=options).manifest


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize(
    "path",
    [pytest.param(x, id=named(x), marks=[] if named(x) in QUICK else [pytest.mark.slow]) for x in CONFIGS],
)
def test_every_experiment_trains_two_steps_and_leaves_a_model(path, checkpoints, manifest, tmp_path):
    changes = [
        *tiny_changes(path, checkpoints),
        f"data.manifest={manifest}",
        f"data.cache={manifest.parent / 'cache'}",
        "training.max_steps=2",
        "training.batch_seconds=15",
        "training.device=cpu",
    ]
    progress = experiments.run(experiments.load_config(path, changes), tmp_path / "run")
    assert progress.step == 2
    made = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert made["fusion"] == experiments.load_config(path).model.fusion
    counts = json.loads((tmp_path / "run" / "parameters.json").read_text())
    assert 0 < counts["trainable"] <= counts["total"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_every_script_says_how_to_use_it_and_refuses_what_it_does_not_know(script):
    said = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "--stop-stage NAME" in said.stdout
    wrong = subprocess.run([script, "--stage", "trian"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "no stage 'trian'; stages: prepare" in wrong.stderr


def run_script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [RECIPES / name / "run.sh", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, **environment},
    )


@pytest.mark.slow
def test_msp_podcast_goes_from_its_folder_to_the_table(checkpoints, tmp_path):
    corpus = write_tree(tmp_path, [*CLIPS, *invent(80, test3=2, speakers=16)], version="2.0", seconds=1.0)
    work = tmp_path / "work"
    options = [
        "--corpus", str(corpus), "--work", str(work), "--configs", "audio_text hubert_large",
        "--set", f"model.audio.encoder={checkpoints['hubert']}", "--set", "training.max_steps=2",
        "--set", "training.batch_seconds=20", "--set", "training.device=cpu", "--gpus", "2",
        "--set", f"data.cache={tmp_path / 'cache'}",
    ]  # fmt: skip
    # The text encoder is named for the experiment that has one only; the other ignores it.
    options += ["--set", f"model.text.encoder={checkpoints['text']}"]
    settings = {
        "PREPARE_OPTIONS": "--allow-partial",
        "ENCODERS": str(checkpoints["hubert"]),
        "SPLITS": "",
        "LAYER_OPTIONS": f"--device cpu --sentence-encoder {checkpoints['text']}",
        "MULTIMODAL_SER_CACHE": str(tmp_path / "cache"),
    }
    done = run_script("msp_podcast", *options, **settings)
    assert done.returncode == 0, done.stderr
    environment = json.loads((work / "runs" / "audio_text" / "seed0" / "environment.json").read_text())
    assert environment["processes"] == 2
    assert (work / "layers" / "hubert" / "results.json").is_file()
    assert "test1: intervals of 95 % over speakers" in done.stdout
    assert "test2: intervals of 95 % over speakers" in done.stdout
    rows = json.loads((work / "table.json").read_text())["sets"]["test1"]
    assert set(rows) == {"audio_text", "hubert_large"}
    assert rows["hubert_large"]["ratio"] == 1.0
    again = run_script("msp_podcast", *options, **settings)
    assert again.returncode == 0
    assert again.stderr.count("is done already") == 6
    more = run_script("msp_podcast", *options, "--variants", "0 7", "--stop-stage", "train", **settings)
    assert more.returncode == 0, more.stderr
    assert more.stderr.count("is done already") == 1, "what was prepared serves all seeds"
    assert (work / "runs" / "audio_text" / "seed7" / "model").is_dir()


@pytest.mark.slow
def test_layer_relevance_goes_from_a_corpus_to_the_comparison(checkpoints, tmp_path):
    work = tmp_path / "work"
    settings = {
        "READER": "synthetic",
        "ENCODERS": f"{checkpoints['hubert']} {checkpoints['whisper']}",
        "PREPARE_OPTIONS": "--speakers 8 --utterances 9",
        "LAYER_OPTIONS": f"--device cpu --sentence-encoder {checkpoints['text']}",
        "MULTIMODAL_SER_CACHE": str(tmp_path / "cache"),
    }
    done = run_script("layer_relevance", "--work", str(work), "--jobs", "1", **settings)
    assert done.returncode == 0, done.stderr
    compared = json.loads((work / "comparison" / "comparison.json").read_text())
    assert {one["kind"] for one in compared["entries"].values()} == {"HubertEncoder", "WhisperEncoder"}
    assert (work / "comparison" / "comparison.html").is_file()
