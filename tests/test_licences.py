"""Licences: what was stated is repeated along the way, and what nobody stated is unknown, not free."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import small_runs
from tiny_checkpoints import save_ser_model

from multimodal_ser import config as experiments
from multimodal_ser import licences
from multimodal_ser.cache import write_json
from multimodal_ser.cli import main
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, read, write


def test_a_run_states_its_corpus_and_a_model_made_from_it_states_both(tmp_path: Path) -> None:
    manifest = small_runs.write_corpus(tmp_path / "corpus", train=8, development=4)
    known = read(manifest)
    write(manifest, replace(known.header, licence="CC BY 4.0"), known.utterances)
    one_step = {"max_steps": 1}
    first = small_runs.configured(manifest, model={"fusion": "audio"}, training=one_step)
    experiments.run(first, tmp_path / "first")
    found = json.loads((tmp_path / "first" / "licences.json").read_text())
    assert found["data"] == [{"name": "small", "licence": "CC BY 4.0"}]
    assert found["weights"] == []
    code = {entry["name"]: entry for entry in found["code"]}
    assert code["multimodal_ser"]["licence"] == "Apache-2.0"
    assert json.loads((tmp_path / "first" / "model" / "licences.json").read_text()) == found
    other = Header("other", licence=None)
    again = licences.of_training(other, ["other"], [str(tmp_path / "first"), "mel", "ntu-spml/distilhubert"])
    assert again["data"] == [{"name": "other", "licence": None}, {"name": "small", "licence": "CC BY 4.0"}]
    assert again["weights"] == [
        {"name": "first", "licence": None, "use": "this model; nobody has chosen a licence for it"},
        {"name": "ntu-spml/distilhubert", "licence": "Apache-2.0"},
    ]


def test_a_fetched_checkpoint_has_the_licence_that_its_hub_stated(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    write_json(folder / "fetched.json", {"licence": "cc-by-nc-4.0"})
    assert licences.of_weights(folder)["weights"] == [{"name": "encoder", "licence": "cc-by-nc-4.0"}]


def test_what_nobody_stated_is_said_to_be_unknown(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_ser_model(tmp_path / "model")
    assert main(["licences", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert "model  unknown: ask its source" in said
    assert "Data behind the weights: nothing is known" in said


def test_json_on_the_screen_is_what_the_list_shows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_ser_model(tmp_path / "model")
    entry = {"name": "corpus", "licence": "MIT", "use": "ratings", "by": "Somebody"}
    write_json(
        tmp_path / "model" / "licences.json", {"weights": [{"name": "w", "licence": "MIT"}], "data": [entry]}
    )
    assert main(["licences", str(tmp_path / "model"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"] == [entry]
    assert found == licences.of_model(tmp_path / "model")
    listed = licences.listed(found)
    assert "corpus  MIT  (ratings)" in listed
    assert "Somebody" in listed


def test_a_broken_file_and_a_folder_that_is_not_there_are_refused(tmp_path: Path) -> None:
    save_ser_model(tmp_path / "model")
    (tmp_path / "model" / "licences.json").write_text('{"weights": ["MIT"]}')
    with pytest.raises(InputError, match="each entry with a name and a licence"):
        licences.of_model(tmp_path / "model")
    with pytest.raises(InputError, match="no such model folder"):
        licences.of_model(tmp_path / "nowhere")


def test_what_hears_beside_the_model_is_listed_where_it_is_known(capsys: pytest.CaptureFixture) -> None:
    named = ["silero-6.2.3", "energy-1", "whisper-base", "faster-whisper-large-v3", "whisper-of-my-own"]
    assert licences.of_helpers(named) == [
        {"name": name, "licence": "MIT"}
        for name in ("silero-6.2.3", "whisper-base", "faster-whisper-large-v3")
    ]
    assert main(["licences", "whisper:base"]) == 0
    assert "whisper:base  MIT" in capsys.readouterr().out
