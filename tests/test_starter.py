"""The starter model: small, whole, and what scores where no model is named."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from tiny_checkpoints import save_hubert_ser_model, save_ser_model

import multimodal_ser
from multimodal_ser import audio, licences
from multimodal_ser.card import add_evaluation
from multimodal_ser.card.text import card_text
from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.inference import Predictor, model_folder
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import read
from multimodal_ser.metrics import pearson
from multimodal_ser.models.audio_branch import load_audio_encoder
from multimodal_ser.models.hub import CARD, FACTS
from multimodal_ser.models.packaged import STARTER_FOLDER, STARTER_IS
from multimodal_ser.podcast import timeline

DATA = Path(__file__).parents[2] / "shared" / "data"
LARGEST = 12_000_000  # bytes
# Each takes longer to import than a short clip takes to score.
NOT_TO_SCORE = (
    "transformers", "scipy", "sklearn", "accelerate", "torchaudio", "matplotlib", "huggingface_hub", "pandas",
    "torch._dynamo",
)  # fmt: skip


@pytest.fixture(scope="module")
def scorer() -> "multimodal_ser.Scorer":
    return multimodal_ser.load()


@pytest.fixture(scope="module")
def episode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episode")
    make_episode(folder / "talk.wav", minutes=0.5, seed=2, sample_rate=16_000, transcripts=("vtt", "rttm"))
    return folder / "talk.wav"


def test_scoring_voice_and_words_imports_nothing_heavy_but_torch(episode: Path, tmp_path: Path) -> None:
    models = {"starter": "starter", "hubert": str(save_hubert_ser_model(tmp_path / "model"))}
    calls = [
        ["score", str(episode), "--model", model, "-o", str(tmp_path / name)]
        for name, model in models.items()
    ]
    program = (
        "import sys\n"
        "from multimodal_ser.cli import main\n"
        f"codes = [main(arguments) for arguments in {calls!r}]\n"
        f"heavy = sorted(set(sys.modules) & set({NOT_TO_SCORE!r}))\n"
        "assert (codes, heavy) == ([0, 0], []), (codes, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in models:
        with (tmp_path / name / "talk.emotion.csv").open(encoding="utf-8") as file:
            assert any(row["text_valence"] for row in csv.DictReader(file))


def test_the_folder_is_small_and_says_what_it_is() -> None:
    files = {path.name: path for path in STARTER_FOLDER.iterdir()}
    assert sum(path.stat().st_size for path in files.values()) < LARGEST
    assert {"config.json", "model.safetensors", "calibration.json", CARD, FACTS, "licences.json"} <= set(
        files
    )
    card = files["README.md"].read_text(encoding="utf-8")
    for said in ("CC BY-SA 4.0", "ten German actors", "decision, not a measurement", "EmoBank"):
        assert said in card
    with safe_open(files["model.safetensors"], "pt") as weights:
        kinds = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    assert torch.float16 in kinds
    assert torch.float32 not in kinds


def test_its_facts_are_about_these_weights_and_can_be_told(scorer) -> None:
    facts = json.loads((STARTER_FOLDER / FACTS).read_text(encoding="utf-8"))
    cure = "recipes/starter/finish.py writes card.json, then `evaluate` puts its figures there"
    model = scorer.engine.rater.predictor.model
    assert facts["model"]["total"] == sum(weight.numel() for weight in model.parameters()), cure
    assert {one["model"] for one in facts["evaluations"]} <= {scorer.engine.rater.predictor.name}, cure
    assert facts["author"]["licence"] == "cc-by-sa-4.0"
    assert "EmoBank: CC BY-SA 4.0" in facts["data"]["licence"]
    told = card_text(facts)
    assert f"{facts['model']['total']:,} parameters" in told
    for one in facts["evaluations"]:
        value = one["readings"]["text"]["valence"]["pearson"]["value"]
        assert f"{value:.3f} [" in told
        assert f"{value:.3f} [" in (STARTER_FOLDER / CARD).read_text(encoding="utf-8")


def test_what_is_measured_of_it_does_not_change_the_package() -> None:
    before = {path.name: path.read_bytes() for path in STARTER_FOLDER.iterdir()}
    assert "the figures stand in metrics.json" in add_evaluation(STARTER_FOLDER, {"model": "x", "sets": {}})
    assert {path.name: path.read_bytes() for path in STARTER_FOLDER.iterdir()} == before


def test_it_is_packaged() -> None:
    setup = (Path(__file__).parents[1] / "setup.cfg").read_text(encoding="utf-8")
    assert "starter/*" in setup
    assert all(path.is_file() for path in STARTER_FOLDER.iterdir()), "package data are files of one folder"


def test_every_name_of_a_model_may_be_starter_unless_a_model_is_called_so(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_folder("starter") == STARTER_FOLDER
    assert load_audio_encoder("starter").width > 1
    (tmp_path / "starter").mkdir()
    assert model_folder("starter") == STARTER_FOLDER
    save_ser_model(tmp_path / "starter")
    assert model_folder("starter") == Path("starter")


def test_score_without_a_model_takes_it_and_says_in_one_line_what_it_is(episode, tmp_path, capsys) -> None:
    output = tmp_path / "out"
    assert main(["score", str(episode), "-o", str(output), "--speech", "energy", "--jobs", "1"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("model: starter")]
    assert said == [STARTER_IS]
    found = timeline.read(output / "talk.emotion.json")
    assert found.model["name"] == "starter"
    values = [segment.dimensions["arousal"] for segment in found.segments]
    assert all(v.low < v.fused < v.high for v in values)
    stated = json.loads((output / "licences.json").read_text(encoding="utf-8"))
    assert {one["name"] for one in stated["data"]} >= {"EmoBank", "EmoDB"}
    assert stated["weights"] == [{"name": "starter", "licence": "CC BY-SA 4.0"}]


def test_the_table_of_python_is_that_of_the_command_line(episode, tmp_path, scorer) -> None:
    table = scorer.score(episode)
    assert main(["score", str(episode), "-o", str(tmp_path), "--jobs", "1"]) == 0
    with (tmp_path / "talk.emotion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(table.columns) == list(rows[0])
    assert len(table) == len(rows)
    for name in ("start", "arousal", "text_valence"):
        np.testing.assert_allclose(table[name], [float(row[name]) for row in rows], atol=1e-6)
    assert set(table["speaker"]) == {row["speaker"] for row in rows}
    scaled = scorer.score(episode, scale="1-7")
    np.testing.assert_allclose(scaled["arousal"], 1 + 6 * table["arousal"])
    assert set(scaled["scale"]) == {"1-7"}


def test_a_scorer_shows_what_it_is(scorer) -> None:
    assert repr(scorer).startswith("Scorer('starter'): arousal, valence, dominance in unit scale")
    assert STARTER_IS in repr(scorer)
    assert scorer._repr_html_().count("<tr>") == 6


def test_words_are_told_apart_by_their_pleasantness(scorer) -> None:
    texts = [
        "I love this, what a wonderful day!",
        "They tortured and killed him.",
        "The table is in the room.",
    ]
    said = scorer.score_text(texts)
    assert list(said["text"]) == texts
    assert said["valence"][0] > said["valence"][2] > said["valence"][1]
    assert len(scorer.score_text("One text.")) == 1


def test_gain_and_silence_around_a_voice_hardly_matter(scorer, episode) -> None:
    clip = audio.load(episode, 2.0, 6.0)
    model = scorer.engine.rater.predictor.model
    ids, mask = model.text.tokenize([""])

    def heard(waveform: np.ndarray) -> torch.Tensor:
        sound = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))[None]
        with torch.inference_mode():
            return model.read(
                model.encode(sound, torch.tensor([sound.shape[1]]), ids, mask), "audio"
            ).dimensions

    plain = heard(clip)
    assert float((heard(clip * 0.1) - plain).abs().max()) < 1e-3
    for padded in (np.pad(clip, (1000, 0)), np.pad(clip, (0, 1000)), np.pad(clip, (100, 100))):
        assert float((heard(padded) - plain).abs().max()) < 0.05


def test_several_recordings_are_one_table(scorer, episode, tmp_path) -> None:
    soundfile.write(tmp_path / "hum.wav", 0.1 * np.sin(np.arange(48_000) / 20), 16_000)
    hum = scorer.score(tmp_path / "hum.wav")
    assert {str(hum[name].dtype) for name in ("start", "arousal", "text_arousal", "disagreement")} == {
        "float64"
    }
    both = scorer.score([episode, tmp_path / "hum.wav"])
    assert "talk.wav" in set(both["file"])
    assert len(both) >= len(scorer.score(episode))


def test_importing_the_package_stays_light() -> None:
    assert "load" in dir(multimodal_ser)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = multimodal_ser.lode


def test_licences_of_it_name_every_source(capsys) -> None:
    assert main(["licences"]) == 0
    said = capsys.readouterr().out
    for name in ("CC BY-SA 4.0", "WordNet 3.0 license", "Sven Buechel", "Apache-2.0"):
        assert name in said
    assert licences.of_model("starter")["weights"][0]["name"] == "starter"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data folder is not here")
def test_emobank_correlations_are_those_of_the_card(tmp_path: Path) -> None:
    prepare("emobank", DATA / "emobank", tmp_path / "emobank")
    test = read(tmp_path / "emobank" / "manifest.jsonl").split("test")
    predictor = Predictor.load("starter", "cpu")
    said = predictor.predict(predictor.examples(test, tmp_path / "cache"))
    card = (STARTER_FOLDER / "README.md").read_text(encoding="utf-8")
    for name in DIMENSIONS:
        found = pearson(said[f"text_{name}"], [getattr(u, name) for u in test.utterances])
        assert f"{found:.3f} [" in card
