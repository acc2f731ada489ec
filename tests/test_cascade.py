"""A draft model rates what it is sure of, the full model the rest, and every result says which."""

import csv
import json
from pathlib import Path

import pytest
from tiny_checkpoints import save_ser_model

from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.podcast.cascade import Draft
from multimodal_ser.podcast.timeline import UNTRUSTED, Scored, Values, read


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cascade")
    make_episode(folder / "talk.wav", minutes=0.8, seed=4, sample_rate=16_000, transcripts=("vtt",))
    for seed, name in enumerate(("full", "small")):
        save_ser_model(folder / name, seed)
    return folder


def scored(folder: Path, name: str, *options: str) -> Path:
    output = folder / name
    common = ["-o", str(output), "--speech", "energy", "--jobs", "1", "--formats", "csv", "report"]
    assert main(["score", str(folder / "talk.wav"), *common, *options]) == 0
    return output


def segment(value: float, *, apart: float = 0.0, source: str = "vtt") -> Scored:
    values = Values(value, value - apart / 2, value + apart / 2)
    return Scored(0.0, 2.0, "so it is", "Ann", dict.fromkeys(DIMENSIONS, values), source)


def test_a_draft_is_enough_where_it_is_ordinary_of_one_mind_and_has_its_words():
    draft = Draft(Path("small"), emotional=0.2, apart=0.1)
    assert draft.is_enough(segment(0.5))
    assert draft.is_enough(segment(0.69))
    assert not draft.is_enough(segment(0.71))
    assert not draft.is_enough(segment(0.29))
    assert not draft.is_enough(segment(0.5, apart=0.11))
    assert not draft.is_enough(segment(0.5, source=UNTRUSTED))


def test_rows_are_those_of_the_one_or_the_other_model_and_say_so(folder: Path):
    full, small = (
        read(scored(folder, f"by_{n}", "--model", str(folder / n)) / "talk.emotion.json")
        for n in ("full", "small")
    )
    # Such that some rows are drafts and some are not, whatever the random weights say.
    away = sorted(max(abs(v.fused - 0.5) for v in s.dimensions.values()) for s in small.segments)
    limit = (away[len(away) // 2 - 1] + away[len(away) // 2]) / 2
    options = ["--model", str(folder / "full"), "--draft", str(folder / "small")]
    output = scored(folder, "both", *options, "--draft-emotional", str(limit), "--draft-apart", "9")
    both = read(output / "talk.emotion.json")
    assert 0 < sum(s.is_draft for s in both.segments) < len(both.segments)
    for mine, of_full, of_small in zip(both.segments, full.segments, small.segments, strict=True):
        theirs = of_small if mine.is_draft else of_full
        assert mine.dimensions == theirs.dimensions
        assert mine.is_draft == (max(abs(v.fused - 0.5) for v in of_small.dimensions.values()) < limit)
    with (output / "talk.emotion.csv").open(encoding="utf-8", newline="") as file:
        hashes = [row["model"] for row in csv.DictReader(file)]
    named = {True: small.model["hash"], False: full.model["hash"]}
    assert hashes == [named[s.is_draft] for s in both.segments]
    assert both.model["draft"]["hash"] == small.model["hash"]
    assert both.model["draft"]["emotional"] == limit
    weights = json.loads((output / "licences.json").read_text(encoding="utf-8"))["weights"]
    assert [entry["name"] for entry in weights] == ["full", "small"]
    drafted = sum(s.is_draft for s in both.segments)
    assert f"<dd>{drafted} of {len(both.segments)} segments are rated by the smaller small" in (
        output / "talk.report.html"
    ).read_text(encoding="utf-8")
    assert "is_draft" not in (folder / "by_full" / "talk.emotion.json").read_text(encoding="utf-8")


def test_another_rule_is_another_result_and_no_rule_at_all_is_the_full_model(folder: Path):
    options = ["--model", str(folder / "full"), "--draft", str(folder / "small"), "--draft-emotional"]
    key = json.loads((scored(folder, "rules", *options, "0.5") / "talk.emotion.json").read_text())["key"]
    never = json.loads((scored(folder, "rules", *options, "0") / "talk.emotion.json").read_text())
    assert key != never["key"]
    plain = json.loads((scored(folder, "plain", *options[:2]) / "talk.emotion.json").read_text())
    assert never["segments"] == plain["segments"]


def test_a_draft_that_saves_nothing_or_has_no_rule_is_refused(folder: Path, capsys):
    options = ["-o", str(folder / "wrong"), "--model", str(folder / "full"), "--draft", str(folder / "full")]
    assert main(["score", str(folder / "talk.wav"), *options]) == 2
    assert "the same model as --model" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"from 0 .* to 0\.5"):
        Draft(Path("small"), emotional=0.7)
