"""Model cards say what is known, and publishing a model publishes the model and nothing else."""

import json
import os
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import huggingface_hub
import pytest
import small_runs
import torch
import yaml
from fake_hub import running_hub
from stub_evaluation import Stub, corpus, manifest_of

import multimodal_ser
from multimodal_ser import licences
from multimodal_ser.cache import write_json
from multimodal_ser.card import add_evaluation, carry_card, encoder_name, training_facts, write_card
from multimodal_ser.card.facts import CardConfig
from multimodal_ser.cli import main
from multimodal_ser.config import RunConfig, run
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import evaluate
from multimodal_ser.evaluation.training_data import TrainingData
from multimodal_ser.inference import Predictor
from multimodal_ser.manifests import Header, read
from multimodal_ser.models.hub import CARD, FACTS, PUBLISHED
from multimodal_ser.models.packaged import STARTER_FOLDER
from multimodal_ser.models.ser import SerModel
from multimodal_ser.run_folder import Progress
from multimodal_ser.settings import plain


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_corpus(tmp_path_factory.mktemp("corpus"), 14, 8)


@pytest.fixture(scope="module")
def finished(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    card = {"licence": "apache-2.0", "name": "A | small\nmodel", "notes": "Made by a test."}
    run(small_runs.configured(manifest, training={"max_steps": 2}, card=card), folder)
    return folder


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def facts(header: Header, card: CardConfig | None = None, **parts: list) -> dict:
    """The facts of a model that nobody trained."""
    values = plain(RunConfig(card=card or CardConfig()))
    used = {name: (utterances, None) for name, utterances in parts.items()}
    counts = {"total": 5, "trainable": 3}
    return training_facts(values, ("audio", "text"), header, used, counts, Progress(9, 2, best_score=0.5))


def test_a_training_leaves_a_card_with_data_protocol_and_licence(finished: Path, manifest: Path) -> None:
    card = (finished / "model" / CARD).read_text()
    head = head_of(card)
    assert (head["license"], head["library_name"]) == ("apache-2.0", "multimodal_ser")
    assert {"speech-emotion-recognition", "arousal", "audio", "text"} <= set(head["tags"])
    assert "language" not in head  # nobody said which, and the corpus is not one that is known
    assert "model-index" not in head
    stored = json.loads((finished / "model" / FACTS).read_text())
    known = read(manifest).utterances
    training = stored["data"]["parts"]["training"]
    assert training["utterances"] == 14 == sum(u.split == "train" for u in known)
    assert training["hours"] == pytest.approx(0.5 * 14 / 3_600, rel=0.3)
    assert f"score {stored['selection']['score']:.4f} at step {stored['selection']['step']} of 2" in card
    assert "# A \\| small model" in card
    assert "Made by a test." in card
    assert "Not measured on any set yet" in card
    assert "- frozen: audio nothing, begun from random weights; text nothing, begun from" in card
    assert "- changes to the sound: none" in card


def test_nothing_of_the_corpus_and_of_the_machine_stands_on_a_card(finished: Path, manifest: Path) -> None:
    said = (finished / "model" / CARD).read_text() + (finished / "model" / FACTS).read_text()
    for utterance in read(manifest).utterances:
        for secret in (utterance.text, utterance.id, utterance.audio):
            assert secret not in said
    assert not re.search(r"\bs[0-4]\b", said)  # the speakers
    assert str(manifest.parent) not in said
    assert encoder_name(str(manifest.parent)) == f"{manifest.parent.name} (a local folder)"
    assert encoder_name("ntu-spml/distilhubert") == "ntu-spml/distilhubert"


def test_evaluate_puts_its_figures_on_the_card(
    finished: Path, manifest: Path, tmp_path: Path, capsys
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for path in (finished / "model").iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    command = ["evaluate", str(model), str(manifest), "-o", str(tmp_path / "out"), "--split", "development"]
    assert main([*command, "--device", "cpu", "--train-manifest", str(manifest)]) == 0
    assert f"model card: {model / CARD}" in capsys.readouterr().out
    card = (model / CARD).read_text()
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["sets"]["development"]
    value = found["readings"]["fused"]["arousal"]["ccc"]["value"]
    assert re.search(rf"\| fused \| CCC \| {value:.3f} \[", card)
    assert "NOT A TEST: the model was chosen and calibrated by 8 of these utterances" in card
    assert "model-index" not in head_of(card)  # which is for tests


def test_a_test_set_is_in_the_head_and_a_second_measurement_takes_its_place(tmp_path: Path) -> None:
    utterances = corpus()
    other = [replace(u, id="t" + u.id, speaker="x" + u.speaker, split="train") for u in utterances]
    write_card(tmp_path, facts(Header("made", "1", licence="CC BY 4.0"), training=other))
    training = TrainingData.of(manifest_of(other))
    report = evaluate(Stub(), manifest_of(utterances), ["test"], tmp_path / "out", ["all"], training)
    for _ in range(2):
        add_evaluation(tmp_path, report)
    card = (tmp_path / CARD).read_text()
    head = head_of(card)
    (result,) = head["model-index"][0]["results"]
    assert result["dataset"] == {"type": "made", "name": "made 1", "split": "test"}
    given = report["sets"]["test"]["readings"]["fused"]["valence"]["ccc"]["value"]
    assert {"type": "ccc", "name": "CCC valence", "value": round(given, 4)} in result["metrics"]
    # The hub's own reading of the head.
    read_back = huggingface_hub.ModelCard(card).data.eval_results
    assert {r.metric_name: r.metric_value for r in read_back}["CCC valence"] == round(given, 4)
    assert "| gender: female | 60 |" in card
    assert "Intervals of single scores promise 90% and cover: arousal" in card
    assert re.search(r"with other transcripts: .*empty 0\.\d{3} \[", card)
    assert card.count("### made 1, test") == 1
    assert head["license_name"] == "not-chosen"
    assert "licence: CC BY 4.0" in card


def test_a_card_that_was_changed_by_hand_stays(tmp_path: Path) -> None:
    write_card(tmp_path, facts(Header("made", "1"), training=corpus("train")))
    (tmp_path / CARD).write_text("my own words")
    report = evaluate(Stub(), manifest_of(corpus()), ["test"], tmp_path / "out")
    assert "was written or changed by hand and stays so" in add_evaluation(tmp_path, report)
    assert (tmp_path / CARD).read_text() == "my own words"
    assert len(json.loads((tmp_path / FACTS).read_text())["evaluations"]) == 1
    (tmp_path / CARD).unlink()
    assert add_evaluation(tmp_path, report).startswith("model card: ")
    assert "### made 1, test" in (tmp_path / CARD).read_text()


def test_names_from_elsewhere_cannot_become_markup(tmp_path: Path) -> None:
    bad = "a|b\n## <script>`"
    utterances = [replace(u, text_source="reference", corpus=bad) for u in corpus("train")]
    card = write_card(tmp_path, facts(Header(bad, licence=bad), training=utterances)).read_text()
    assert "<script" not in card
    assert "\n## &lt;script" not in card
    assert "a\\|b ## &lt;script&gt;'" in card
    assert head_of(card)["tags"]


def test_the_language_is_that_of_known_corpora_unless_the_author_says_otherwise() -> None:
    german = [replace(u, corpus="emodb") for u in corpus("train")]
    assert facts(Header("emodb"), training=german)["author"]["languages"] == ["de"]
    both = [*german, replace(german[0], corpus="of my own")]
    assert facts(Header("both"), training=both)["author"]["languages"] == []
    own = CardConfig(languages=("fr",))
    assert facts(Header("both"), own, training=both)["author"]["languages"] == ["fr"]
    with pytest.raises(InputError, match=r"card\.languages: 'French'; codes such as en or de"):
        CardConfig(languages=("French",))


def test_a_finished_run_without_a_card_gets_one_and_the_card_section_may_change(
    manifest: Path, tmp_path: Path
) -> None:
    experiment = small_runs.configured(manifest, training={"max_steps": 1})
    run(experiment, tmp_path)
    weights = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    (tmp_path / "model" / CARD).unlink()
    run(replace(experiment, card=CardConfig(licence="mit")), tmp_path)
    assert head_of((tmp_path / "model" / CARD).read_text())["license"] == "mit"
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == weights


def test_a_model_goes_to_the_hub_and_comes_back_with_nothing_that_lay_beside_it(
    finished: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "0") == "1":
        pytest.skip("HF_HUB_OFFLINE=1 forbids the hub's client to ask even this machine")
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (finished / "model").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    secret = "the words of a licensed corpus"
    for name in ("manifest.jsonl", "predictions_test.csv", "labels.json", "README.md.bak"):
        (folder / name).write_text(secret)
    with running_hub(tmp_path / "hub") as (address, received):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        model = SerModel.from_pretrained(folder)
        assert model.push_to_hub("me/mine") == f"{address}/me/mine"
        assert json.loads(received[0])["visibility"] == "private"
        there = {path.name for path in (tmp_path / "hub" / "me" / "mine").iterdir()}
        assert there == {path.name for path in (finished / "model").iterdir()} <= set(PUBLISHED)
        assert secret.encode() not in b"".join(received)
        again = Predictor.load("me/mine", "cpu")
    assert again.calibration == json.loads((folder / "calibration.json").read_text())
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])


def test_the_starter_model_goes_to_a_hub_with_all_its_files(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "hub").mkdir()
    with running_hub(tmp_path / "hub") as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
        SerModel.from_pretrained(STARTER_FOLDER).push_to_hub("me/starter")
    there = {path.name: path.read_bytes() for path in (tmp_path / "hub" / "me" / "starter").iterdir()}
    assert there == {path.name: path.read_bytes() for path in STARTER_FOLDER.iterdir()}


def test_a_hub_that_nobody_answers_for_takes_nothing_and_says_so(finished: Path, monkeypatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(InputError, match="me/mine: the model hub does not take it"):
        SerModel.from_pretrained(finished / "model").push_to_hub("me/mine")


def test_what_cannot_be_published_is_refused_with_the_reason(finished: Path, tmp_path: Path) -> None:
    model = SerModel.from_pretrained(finished / "model")
    model.save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match=r"bare has no README\.md: a model without a card is not published"):
        model.push_to_hub("me/mine")
    changed = SerModel.from_pretrained(finished / "model")
    torch.nn.init.zeros_(changed.head[-1].bias)
    with pytest.raises(InputError, match="the weights differ from those in"):
        changed.push_to_hub("me/mine")
    fresh = SerModel(model.config, model.audio, model.text)
    with pytest.raises(InputError, match="this model lies in no folder"):
        fresh.push_to_hub("me/mine")
    assert asdict(fresh.config) == asdict(model.config)


def test_a_card_that_a_person_writes_has_the_facts_of_its_training_and_stays(
    finished: Path, tmp_path: Path
) -> None:
    (tmp_path / CARD).write_text("Written by hand.")
    stated = [{"name": "A", "licence": "CC0-1.0"}, {"name": "B", "licence": None}]
    write_json(tmp_path / "licences.json", {"weights": [], "data": stated})
    carry_card(tmp_path, finished / "model", CardConfig("Ours", "mit", ("de",)))
    carried, made = (json.loads((folder / FACTS).read_text()) for folder in (tmp_path, finished / "model"))
    assert carried["author"] == {"name": "Ours", "licence": "mit", "languages": ["de"], "notes": ""}
    assert carried["data"]["licence"] == "A: CC0-1.0; B: not stated"
    for same in ("model", "training", "selection"):
        assert carried[same] == made[same]
    report = evaluate(Stub(), manifest_of(corpus()), ["test"], tmp_path / "out")
    assert "written or changed by hand and stays so" in add_evaluation(tmp_path, report)
    assert (tmp_path / CARD).read_text() == "Written by hand."
    assert len(json.loads((tmp_path / FACTS).read_text())["evaluations"]) == 1


def test_a_card_of_another_version_keeps_nobody_from_scoring(finished: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(finished / "model", model)
    write_json(model / FACTS, {"schema_version": 99})
    assert "trained on" not in repr(multimodal_ser.load(model, device="cpu"))
    assert licences.of_model(model)["weights"][0]["licence"] is None
    with pytest.raises(InputError, match="schema_version 99; this version of multimodal_ser reads 1"):
        add_evaluation(model, {"model": "x", "sets": {}})


def test_licences_and_a_scorer_say_what_the_card_says(finished: Path, manifest: Path) -> None:
    (weights, *_) = licences.of_model(finished)["weights"]
    assert weights == {"name": finished.name, "licence": "apache-2.0", "use": "this model"}
    said = repr(multimodal_ser.load(finished, device="cpu"))
    assert "trained on small (14 utterances); licence of the weights: apache-2.0" in said
