"""The demonstration, small: everything that it promises is there, and the table is the evaluation's."""

import json
from pathlib import Path

import pytest

from multimodal_ser.demo import demonstrate
from multimodal_ser.labels import DIMENSIONS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("demo") / "output"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multimodal_ser.demo.EPISODE_MINUTES", 1.0)
        demonstrate(output, speakers=8, utterances=8, epochs=1, layers=False)
    return output


def test_the_table_holds_every_reading_and_dimension_as_evaluated(made: Path) -> None:
    results = json.loads((made / "results.json").read_text(encoding="utf-8"))
    measured = json.loads((made / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    readings = measured["sets"]["test"]["readings"]
    assert list(results) == ["fused", "audio", "text"]
    for reading, values in results.items():
        assert values == {name: readings[reading][name]["ccc"]["value"] for name in DIMENSIONS}


def test_speakers_of_the_table_were_never_trained_on(made: Path) -> None:
    lines = (made / "manifest" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    splits: dict[str, set[str]] = {}
    for line in lines:
        utterance = json.loads(line)
        splits.setdefault(utterance["split"], set()).add(utterance["speaker"])
    assert splits["test"]
    assert not splits["test"] & (splits["train"] | splits["development"])


def test_a_page_and_a_model_are_left_to_look_at(made: Path) -> None:
    assert "<html" in (made / "evaluation" / "evaluation.html").read_text(encoding="utf-8")
    assert (made / "run" / "model" / "model.safetensors").stat().st_size > 0


def test_an_episode_is_scored_for_each_of_its_speakers(made: Path) -> None:
    scored = json.loads((made / "scored" / "episode.emotion.json").read_text(encoding="utf-8"))
    assert {segment["text_source"] for segment in scored["segments"]} == {"vtt"}
    assert {facts["speaker"] for facts in scored["summary"]["speakers"]} == {"Ada", "Ben", "Clara"}


def test_a_picture_shows_what_pretraining_would_hide(made: Path) -> None:
    assert (made / "masks" / "clip_01.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_everything_on_the_list_at_the_end_is_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    demonstrate(tmp_path, speakers=18, utterances=11, epochs=1)
    said = capsys.readouterr().out
    listed = said.partition("made:\n")[2].partition("\n\nto try next:")[0].splitlines()
    paths = [Path(line.split("  ")[1]) for line in listed]
    assert [path.name for path in paths] == [
        "results.json", "evaluation.html", "episode.report.html", "report.html", "clip_01.png", "model",
    ]  # fmt: skip
    assert all(path.exists() for path in paths)
    assert "layers (audio): " in said
    assert "layers (text): " in said


@pytest.mark.slow
def test_what_is_planted_is_found_where_it_was_planted(tmp_path: Path) -> None:
    found = demonstrate(tmp_path)
    assert found["fused"]["arousal"] >= 0.80
    assert found["fused"]["valence"] >= 0.75
    assert found["audio"]["valence"] <= 0.30
    assert found["text"]["arousal"] <= 0.30
    best_alone = max(found["audio"]["dominance"], found["text"]["dominance"])
    assert found["fused"]["dominance"] >= best_alone + 0.05
