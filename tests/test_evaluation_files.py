"""What an evaluation reads and leaves behind: files, training data, the command."""

import csv
import json
from dataclasses import replace

import pytest
from stub_evaluation import SPEAKERS, N, Stub, corpus, manifest_of, run_folder

from multimodal_ser import cli
from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import evaluate, screen, splits_to_test, table
from multimodal_ser.evaluation.page import write_page
from multimodal_ser.evaluation.training_data import in_folds, of_run
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS, MSP_SCALE
from multimodal_ser.manifests import Header, write


def test_a_set_without_labels_gets_predictions_and_the_challenge_file(tmp_path):
    unlabelled = corpus("test3", **dict.fromkeys(DIMENSIONS), corpus="msp-podcast")
    unlabelled[0] = replace(unlabelled[0], id="MSP-PODCAST_1", text="-0.5 0.5 1.75")
    report = evaluate(Stub(), manifest_of(unlabelled), ["test3"], tmp_path)
    found = report["sets"]["test3"]["readings"]["fused"]["arousal"]
    assert set(found) == {"utterances", "mean", "spread"}
    assert found["utterances"] == 0
    assert "no labels in this manifest" in screen(report["sets"]["test3"])
    lines = (tmp_path / "challenge_test3.csv").read_text().splitlines()
    assert lines[:2] == ["FileName,EmoAct,EmoVal,EmoDom", "MSP-PODCAST_1.wav,1,4,7"]
    assert len(lines) == N + 1
    page = write_page(tmp_path).read_text()
    assert "nothing can be measured" in page
    assert "<img" not in page


def test_the_challenge_file_is_written_for_other_corpora_only_when_asked_for(tmp_path):
    evaluate(Stub(), manifest_of(corpus()), ["test"], tmp_path, scale=MSP_SCALE)
    assert not (tmp_path / "challenge_test.csv").exists()
    evaluate(Stub(), manifest_of(corpus()), ["test"], tmp_path, challenge=True)
    assert (tmp_path / "challenge_test.csv").is_file()


def test_names_cannot_become_formulas_or_markup(tmp_path):
    bad = "=HYPERLINK(1)<script>"
    unlabelled = corpus(n=4, **dict.fromkeys(DIMENSIONS))
    utterances = [replace(u, speaker=bad, text_source=bad) if i else u for i, u in enumerate(unlabelled)]
    evaluate(Stub(), manifest_of(utterances, corpus_name=bad), ["test"], tmp_path)
    for name in ("predictions_test.csv", "speakers_test.csv"):
        cells = [cell for row in csv.reader((tmp_path / name).open()) for cell in row]
        assert "'" + bad in cells
        assert bad not in cells
    page = write_page(tmp_path).read_text()
    assert "<script" not in page
    assert "=HYPERLINK(1)&lt;script&gt;" in page


def test_what_is_undefined_is_null_in_json_and_a_dash_elsewhere(tmp_path):
    constant = [replace(u, text="0.5 0.5 nan", **dict.fromkeys(DIMENSIONS, 0.5)) for u in corpus()]
    said = evaluate(Stub(), manifest_of(constant), ["test"], tmp_path)
    assert f"WARNING: {N} utterances have predictions that are not numbers" in screen(said["sets"]["test"])
    report = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    measured = report["sets"]["test"]
    assert measured["readings"]["fused"]["arousal"]["ccc"]["value"] is None
    assert measured["readings"]["fused"]["dominance"]["rmse"]["value"] is None
    assert table(measured["readings"], measured["protocol"]).splitlines()[3].split() == [
        "fused",
        "-",
        "-",
        "-",
    ]
    assert "–" in write_page(tmp_path).read_text()


def test_every_split_that_begins_with_test_is_measured_unless_told_otherwise():
    parts = (corpus(name, n=2) for name in ("train", "development", "test2", "test1", "tested"))
    assert splits_to_test(manifest_of(*parts)) == ["test1", "test2", "tested"]
    with pytest.raises(InputError, match="name one with --split; splits in this manifest: train"):
        splits_to_test(manifest_of(corpus("train", n=2)))
    with pytest.raises(InputError, match="--fold N tests on one of them"):
        splits_to_test(manifest_of(corpus("train", n=2, fold=1)))


def test_a_model_is_refused_data_without_what_it_reads(tmp_path):
    text_only = manifest_of(corpus(audio=None))
    with pytest.raises(InputError, match="set 'test' of 'made' is text only, and this model only hears"):
        evaluate(Stub(("audio",)), text_only, ["test"], tmp_path)
    with pytest.raises(InputError, match="no utterance of set 'test' has a transcript"):
        evaluate(Stub(("text",)), manifest_of(corpus(text=None)), ["test"], tmp_path)
    with pytest.raises(InputError, match=r"in split 'tset' \(did you mean 'test'\?\)"):
        evaluate(Stub(), text_only, ["test", "tset"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_folder_knows_its_training_data_by_their_content(tmp_path):
    run, manifest = run_folder(tmp_path)
    other = tmp_path / "other.jsonl"
    write(other, Header("made", "1"), corpus())
    found = of_run(run, other)
    assert len(found.trained) == 16
    assert found.speakers == {("made", f"s{i}") for i in range(SPEAKERS)}
    moved = manifest.rename(tmp_path / "moved.jsonl")
    assert of_run(run, other) is None
    assert of_run(run, moved) == found
    assert of_run(run, other, named=moved) == found
    moved.write_text(moved.read_text() + "\n")
    assert of_run(run, moved) is None, "another file than the one trained on"


def test_a_model_folder_says_nothing_about_people_and_a_wrong_training_manifest_is_an_error(tmp_path):
    test_only = tmp_path / "test.jsonl"
    write(test_only, Header("made", "1"), corpus(n=2))
    assert of_run(tmp_path, test_only) is None
    with pytest.raises(InputError, match=r"no utterance is in split 'train'; splits in this manifest: test"):
        of_run(tmp_path, test_only, named=test_only)


def test_a_run_on_a_fold_is_tested_on_that_fold(tmp_path):
    run, manifest = run_folder(tmp_path, fold=3)
    training = of_run(run, manifest)
    assert {name[:4] for _, name in training.trained} == {"deve"}
    divided = in_folds(manifest_of(corpus(fold=3), corpus("train", fold=1)), run, None, training)
    assert {u.fold for u in divided.utterances if u.split == "test"} == {3}
    chosen = in_folds(manifest_of(corpus(fold=3), corpus("train", fold=1)), run, 1, training)
    assert {u.fold for u in chosen.utterances if u.split == "test"} == {1}
    foreign = manifest_of(corpus("test", fold=1, corpus="other"))
    assert in_folds(foreign, run, None, training) is foreign


@pytest.fixture
def command(tmp_path, monkeypatch):
    run, manifest = run_folder(tmp_path)
    monkeypatch.setattr(Predictor, "load", lambda folder, device: Stub())
    return lambda *more: cli.main(["evaluate", str(run), str(manifest), "-o", str(tmp_path / "out"), *more])


def test_the_command_measures_test_sets_with_their_training_data_known(command, tmp_path, capsys):
    assert command("--scale", "1-7", "--format", "msp", "--transcripts", "given") == 0
    printed = capsys.readouterr().out
    assert "CCC on made 1, test: 16 utterances of 8 speakers (8 of them in training)" in printed
    assert "written: " in printed
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(report["sets"]) == ["test"]
    assert report["scale"] == "1-7"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"evaluation.html", "predictions_test.csv", "challenge_test.csv", "scatter_test.png"} <= names


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--scale", "seven"], "not a scale: 'seven'; write LOW-HIGH"),
        (["--scale", "7-1"], "a scale runs from a lower to a higher number"),
        (["--split", "test9"], "no utterance of 'made' is in split 'test9'"),
        (["--fold", "9"], "--fold 9: this corpus has folds 1 to 3"),
        (["--transcripts", "asr:huge"], "no utterance of this set has a transcript of that source"),
        (["--audio-root", "/no/such/folder"], "--audio-root: no such folder"),
        (["--train-manifest", "no.jsonl"], "no such manifest: no.jsonl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_said_and_leaves_nothing_behind(command, tmp_path, capsys, flags, said):
    assert command(*flags) == cli.WRONG_INPUT
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
