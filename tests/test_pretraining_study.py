"""The study of pretraining: its test against closed forms, and a small corpus that is stopped and goes on."""

import subprocess
import sys

import numpy as np
import pytest
from scripts import RECIPES, load_script

from multimodal_ser import audio, manifests
from multimodal_ser.utterances import Utterance

FOLDER = RECIPES / "pretraining_study"


def script(name, folder=FOLDER):
    return load_script(folder / f"{name}.py")


@pytest.fixture(scope="module")
def study():
    return script("study")


@pytest.fixture(scope="module")
def table():
    return script("table")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Twelve tones whose pitch rises in anger and stays in neutral speech."""
    folder = tmp_path_factory.mktemp("tones")
    random = np.random.default_rng(0)
    utterances = []
    for number in range(12):
        fold, angry = 1 + number % 2, number % 4 > 1
        time = np.arange(16_000) / 16_000
        wave = np.sin(2 * np.pi * (300 + (900 * time if angry else 0)) * time) * 0.3
        audio.encode(folder / f"{number}.wav", (wave + random.normal(size=16_000) * 0.01).astype(np.float32))
        utterances.append(
            Utterance(
                id=f"u{number}",
                corpus="tones",
                audio=f"{number}.wav",
                speaker=f"s{fold}",
                fold=fold,
                emotion="anger" if angry else "neutral",
            )
        )
    header = manifests.Header(corpus="tones", audio_root=str(folder))
    manifests.write(folder / "manifest.jsonl", header, utterances)
    return folder / "manifest.jsonl"


def test_the_sign_flip_test_is_exact(table):
    assert table.sign_flip([1.0, 2.0, 3.0]) == 2 / 8
    assert table.sign_flip([1.0, -1.0]) == 1.0
    assert table.sign_flip([0.0, 0.0]) == 1.0


def test_accuracies_are_those_of_a_hand_made_table(table):
    utterances = {
        name: Utterance(id=name, corpus="c", speaker=speaker, emotion=emotion)
        for name, speaker, emotion in [
            ("a", "1", "anger"),
            ("b", "1", "anger"),
            ("c", "1", "neutral"),
            ("d", "2", "anger"),
        ]
    }
    said = {"a": "anger", "b": "neutral", "c": "neutral", "d": "anger"}
    unweighted, weighted, speakers = table.recalls(utterances, said)
    assert unweighted == pytest.approx((2 / 3 + 1) / 2)
    assert weighted == pytest.approx(3 / 4)
    assert speakers == {"1": pytest.approx(3 / 4), "2": 1.0}


def test_every_condition_is_run_once_and_tested_on_unseen_speakers(study, table, manifest, tmp_path):
    corpus = study.Corpus(str(manifest))
    path = tmp_path / "results.jsonl"
    study.run(corpus, path, seeds=1, epochs=1)
    lines = path.read_text().splitlines(keepends=True)
    rows = study.read(path)
    assert {(r["condition"], r["fold"]) for r in rows} == {(c, f) for c in study.CONDITIONS for f in (1, 2)}
    speakers = {u.id: u.speaker for u in corpus.utterances}
    assert all({speakers[name] for name in r["ids"]} == {f"s{r['fold']}"} for r in rows)
    path.write_text("".join(lines[:-1]))
    study.run(corpus, path, seeds=1, epochs=1)
    assert path.read_text() == "".join(lines), (
        "the row that was lost comes out as it was, no other is repeated"
    )
    printed = table.table({u.id: u for u in corpus.utterances}, rows)
    assert all(f"| {condition} | 1 |" in printed for condition in study.CONDITIONS)


@pytest.mark.slow
def test_the_table_of_hidden_shares_gives_every_rule_a_row(manifest):
    command = [sys.executable, str(FOLDER / "hidden_share.py"), str(manifest)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    shares = {line.split("|")[1].strip(): float(line.split("|")[2]) for line in printed[3:]}
    # Clips of 98 frames: two spans of seven are 14.3 %.
    assert shares["random"] == shares["intense"] == pytest.approx(100 * 14 / 98, abs=0.05)
    assert shares["as_released"] < shares["intense"]


def test_tones_that_never_fade_have_room_for_every_start_in_a_band(manifest, capsys):
    room = script("band_room", FOLDER.with_name("pretrain_vesper"))
    assert room.room(np.array([0, 3, 8, 9, 20, 25]), 9) == 3
    room.main(str(manifest))
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[3:]]
    assert [row[0].strip() for row in rows] == ["all", "bands have room", "bands have no room"]
    assert [[float(x) for x in row[1:]] for row in rows] == [[100, 100, 100], [100, 100, 100], [0, 0, 0]]
