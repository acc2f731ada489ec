"""Scoring: a row is what the model says of that stretch alone, and runs can be killed."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoints import save_ser_model

from multimodal_ser import audio
from multimodal_ser.backends.gate import write_gate
from multimodal_ser.cache import write_json
from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.models.ser import SerModel
from multimodal_ser.podcast import rating, scoring, writers
from multimodal_ser.podcast.engine import Engine, EngineOptions
from multimodal_ser.podcast.jobs import jobs_of
from multimodal_ser.podcast.rating import Rater
from multimodal_ser.podcast.timeline import read
from multimodal_ser.podcast.working import ScoreOptions
from multimodal_ser.textgrids import read_tiers
from multimodal_ser.transcripts.asr import AsrOptions, Heard
from multimodal_ser.transcripts.cues import Cue

RADIUS = 0.25
WORDS = {
    "file",
    "speaker",
    "text",
    "text_source",
    "flags",
    "scale",
    "model",
    "transcript_source",
    "schema_version",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network with calibration."""
    folder = save_ser_model(tmp_path_factory.mktemp("model"))
    radius = {reading: dict.fromkeys(DIMENSIONS, RADIUS) for reading in ("fused", "audio", "text")}
    write_json(folder / "calibration.json", {"coverage": 0.9, "utterances": 100, "radius": radius})
    return folder


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("episodes")
    make_episode(folder / "first.mp3", minutes=1.2, seed=1, transcripts=("vtt", "rttm"))
    make_episode(folder / "second.wav", minutes=0.6, seed=2, sample_rate=16_000, transcripts=("srt",))
    make_episode(folder / "third.ogg", minutes=0.5, seed=3, sample_rate=16_000, transcripts=())
    return folder


def score(media: Path | Sequence[Path], model: Path, output: Path, *options: str) -> int:
    media = [media] if isinstance(media, Path) else media
    common = ["--model", str(model), "-o", str(output), "--speech", "energy", "--jobs", "1"]
    return main(["score", *map(str, media), *common, *options])


@pytest.fixture(scope="module")
def scored(episodes: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("scored")
    assert score(episodes, model, output) == 0
    return output


def bytes_in(folder: Path, beginning: str = "") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith(beginning)}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_is_what_the_model_says_of_that_stretch_and_those_words(
    scored: Path, episodes: Path, model: Path
) -> None:
    network = SerModel.from_pretrained(model)
    for row in json.loads((scored / "first.emotion.json").read_text())["segments"][:4]:
        sound = torch.from_numpy(audio.load(episodes / "first.mp3", row["start"], row["end"]))[None]
        with torch.inference_mode():
            tokens = network.text.tokenize([row["text"]])
            encoded = network.encode(sound, torch.tensor([sound.shape[1]]), *tokens)
            for reading in network.readings:
                alone = network.read(encoded, reading).dimensions[0].tolist()
                found = [row["dimensions"][name][reading] for name in DIMENSIONS]
                assert found == pytest.approx(alone, abs=1e-5)
        arousal = row["dimensions"]["arousal"]
        value = arousal["fused"]
        assert arousal["low"] == pytest.approx(min(max(value - RADIUS, 0), value), abs=2e-6)
        assert arousal["high"] == pytest.approx(max(min(value + RADIUS, 1), value), abs=2e-6)


def test_batches_by_length_as_on_a_gpu_give_what_each_gives_alone(model: Path, monkeypatch) -> None:
    rater = Rater(model, device="cpu")
    generator = np.random.default_rng(0)
    lengths = [0.4, 3.0, 1.1, 6.0, 0.5, 2.0, 1.0]
    sounds = [(generator.standard_normal(round(s * 16_000)) * 0.1).astype(np.float32) for s in lengths]
    judged = [
        (Cue(0.0, seconds, "who would have thought" if n % 2 else ""), "vtt", ())
        for n, seconds in enumerate(lengths)
    ]
    alone = list(rater.rated(judged, sounds))
    ran = []
    run = rater._run
    monkeypatch.setattr(rater, "_run", lambda pairs: ran.append(len(pairs)) or run(pairs))
    monkeypatch.setattr(
        rater, "_values", lambda sounds, texts: rater._batched(list(zip(sounds, texts, strict=True)))
    )
    monkeypatch.setattr(rating, "GPU_SECONDS", 6.0)
    together = list(rater.rated(judged, sounds))
    assert ran == [1, 2, 4]  # 6 s; 3 s and 2 s; 1.1, 1.0, 0.5 and 0.4 s
    for a, b in zip(alone, together, strict=True):
        for name in DIMENSIONS:
            assert b.dimensions[name].fused == pytest.approx(a.dimensions[name].fused, abs=1e-5)
            assert b.dimensions[name].audio == pytest.approx(a.dimensions[name].audio, abs=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_texts_read_together_give_what_each_gives_alone(model: Path, monkeypatch, threads: int) -> None:
    rater = Rater(model, device="cpu", threads=threads)
    texts = [
        "who would have thought",
        "",
        "no",
        "that was a wonderful day, and nobody can take it away",
        "oh",
    ]
    sound = (np.random.default_rng(0).standard_normal(8_000) * 0.1).astype(np.float32)
    judged = [(Cue(0.0, 0.5, text), "vtt" if text else rating.NO_WORDS, ()) for text in texts]
    alone = [next(rater.rated([one], [sound])) for one in judged]
    read = []
    encode_text = rater.predictor.model.encode_text
    monkeypatch.setattr(
        rater.predictor.model,
        "encode_text",
        lambda ids, mask: read.append(len(ids)) or encode_text(ids, mask),
    )
    monkeypatch.setattr(rating, "READ_AT_ONCE", 3)
    together = list(rater.rated(judged, [sound] * 5))
    assert read == [3, 2]
    for one, among, text in zip(alone, together, texts, strict=True):
        for name in DIMENSIONS:
            assert among.dimensions[name].fused == pytest.approx(one.dimensions[name].fused, abs=1e-6)
            assert among.dimensions[name].audio == one.dimensions[name].audio
            assert (among.dimensions[name].text is None) == (text == "")


def test_what_is_scored_beside_it_in_which_order_and_by_how_many_does_not_show(
    scored: Path, episodes: Path, model: Path, tmp_path: Path
) -> None:
    beside = tmp_path.parent / f"{scored.name}-like"  # paths in the results are relative to the output
    names = ["third.ogg", "first.mp3"]
    assert score([episodes / name for name in names], model, beside, "--jobs", "2") == 0
    assert score(episodes / "second.wav", model, beside, "--jobs", "2") == 0
    for name in ("first.", "second.", "third."):
        ours, theirs = bytes_in(scored, name), bytes_in(beside, name)
        assert set(ours) == set(theirs)
        for file in ours:
            if file.endswith(("csv", "vtt", "TextGrid")):
                assert ours[file] == theirs[file], file


def test_parquet_holds_the_segment_table_and_what_is_missing_is_null(scored: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("first", "second", "third"):  # the third has neither words nor speakers
        rows = parquet.read_table(scored / f"{name}.emotion.parquet").to_pylist()
        for row, said in zip(rows, table(scored / f"{name}.emotion.csv"), strict=True):
            assert list(row) == list(said)
            for column, value in row.items():
                if value is None or column in WORDS:
                    assert said[column] == ("" if value is None else str(value)), column
                else:
                    assert value == pytest.approx(float(said[column]), abs=1e-6), column
    nothing = replace(read(scored / "first.emotion.json"), segments=())
    writers.write_parquet(tmp_path / "empty.parquet", nothing)
    assert parquet.read_schema(tmp_path / "empty.parquet").names == list(writers.SEGMENT_COLUMNS)


def test_all_formats_state_scale_schema_model_and_source_and_agree(scored: Path) -> None:
    timeline = read(scored / "first.emotion.json")
    rows = table(scored / "first.emotion.csv")
    assert len(rows) == len(timeline.segments) > 5
    for row, segment in zip(rows, timeline.segments, strict=True):
        assert (row["scale"], row["schema_version"], row["model"]) == ("0-1", "1", timeline.model["hash"])
        assert row["transcript_source"] == row["text_source"] == "vtt"
        assert float(row["valence"]) == pytest.approx(segment.dimensions["valence"].fused, abs=1e-6)
        assert row["speaker"] == segment.speaker
    tiers = {tier.name: tier for tier in read_tiers((scored / "first.emotion.TextGrid").read_text())}
    assert set(DIMENSIONS) <= set(tiers)
    assert len(tiers["arousal"].marks) == len(timeline.segments)
    said = {mark.text for name in {s.speaker for s in timeline.segments} for mark in tiers[name].marks}
    assert {segment.text for segment in timeline.segments} <= said
    vtt = (scored / "first.emotion.vtt").read_text()
    assert "scale 0-1; schema multimodal_ser.episode 1; model" in vtt
    assert vtt.count(" --> ") == len(timeline.segments)


def test_words_that_cannot_be_trusted_are_not_read_and_it_says_so(model: Path, tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "talk.wav", minutes=0.5, sample_rate=16_000, transcripts=())
    (tmp_path / "talk.srt").write_text("1\n00:00:05,000 --> 00:00:25,000\n" + "thank you " * 60)
    assert score(episode.audio, model, tmp_path / "out") == 0
    segments = read(tmp_path / "out" / "talk.emotion.json").segments
    assert {segment.text_source for segment in segments} == {"untrusted"}
    for segment in segments:
        assert "repeated" in segment.flags
        values = segment.dimensions["valence"]
        assert values.text is None
        assert values.fused == values.audio
        assert segment.disagreement is None


def test_a_scale_changes_all_values_and_nothing_else(
    scored: Path, episodes: Path, model: Path, tmp_path: Path
) -> None:
    assert score(episodes / "second.wav", model, tmp_path, "--scale", "1-7") == 0
    for unit, seven in zip(
        table(scored / "second.emotion.csv"), table(tmp_path / "second.emotion.csv"), strict=True
    ):
        for name in ("arousal", "valence_low", "text_dominance"):
            assert float(seven[name]) == pytest.approx(1 + 6 * float(unit[name]), abs=1e-5)
        assert float(seven["disagreement"]) == pytest.approx(6 * float(unit["disagreement"]), abs=1e-5)
        assert seven["scale"] == "1-7"
    unit = next(row for row in table(scored / "summary_episodes.csv") if row["episode"] == "second")
    (seven,) = table(tmp_path / "summary_episodes.csv")
    assert float(seven["valence_mean"]) == pytest.approx(1 + 6 * float(unit["valence_mean"]), abs=1e-4)
    assert float(seven["valence_spread"]) == pytest.approx(6 * float(unit["valence_spread"]), abs=1e-4)
    assert seven["share_calm"] == unit["share_calm"]


def test_summaries_weigh_by_duration(scored: Path) -> None:
    rows = table(scored / "first.emotion.csv")
    for facts in table(scored / "summary_speakers.csv"):
        if facts["episode"] != "first":
            continue
        mine = [row for row in rows if row["speaker"] == facts["speaker"]]
        weights = np.array([float(row["end"]) - float(row["start"]) for row in mine])
        values = np.array([float(row["arousal"]) for row in mine])
        assert float(facts["arousal_mean"]) == pytest.approx(np.average(values, weights=weights), abs=1e-5)
        assert float(facts["speech_seconds"]) == pytest.approx(weights.sum(), abs=1e-3)


def test_a_bad_file_is_a_row_of_errors_and_the_others_are_scored(
    episodes: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp3").write_text("It was a dark and stormy night")
    media = [tmp_path / "broken.mp3", tmp_path / "gone.wav", episodes / "third.ogg"]
    assert score(media, model, tmp_path / "out") == 3
    reasons = {row["episode"]: row["reason"] for row in table(tmp_path / "out" / "errors.csv")}
    assert "is text, not sound" in reasons["broken"]
    assert "no such file" in reasons["gone"]
    assert (tmp_path / "out" / "third.emotion.json").is_file()
    assert score(episodes / "third.ogg", model, tmp_path / "out") == 0
    assert not (tmp_path / "out" / "errors.csv").exists()


@pytest.mark.parametrize("error", [KeyError("speaker"), ZeroDivisionError(), TypeError("none\nfound")])
def test_an_error_that_nobody_foresaw_is_a_row_with_its_kind_and_the_others_are_scored(
    error: Exception, episodes: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Engine.score

    def partly(engine: Engine, job):
        if job.name == "second":
            raise error
        return whole(engine, job)

    monkeypatch.setattr(Engine, "score", partly)
    assert score([episodes / "second.wav", episodes / "third.ogg"], model, tmp_path) == 3
    (row,) = table(tmp_path / "errors.csv")
    said = {"KeyError": "KeyError: 'speaker'", "ZeroDivisionError": "ZeroDivisionError"}
    assert row["reason"] == said.get(type(error).__name__, "TypeError: none found")
    assert [row["episode"] for row in table(tmp_path / "summary_episodes.csv")] == ["third"]


def test_an_interrupt_stops_the_run(episodes: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupted(engine: Engine, job):
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "score", interrupted)
    assert score([episodes / "second.wav", episodes / "third.ogg"], model, tmp_path) == 130
    assert not (tmp_path / "errors.csv").exists()


def test_recordings_of_one_name_do_not_collide_in_one_run_nor_over_two(
    episodes: Path, model: Path, tmp_path: Path
) -> None:
    for folder, source in (("a", "third.ogg"), ("b", "second.wav")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"talk{Path(source).suffix}").write_bytes((episodes / source).read_bytes())
    (tmp_path / "b" / "talk.ogg").write_bytes((tmp_path / "b" / "talk.wav").read_bytes())
    assert score([tmp_path / "a", tmp_path / "b"], model, tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").glob("*.emotion.json")}
    assert len(names) == 3
    assert "talk.wav.emotion.json" in names
    apart = tmp_path / "apart"
    assert score(tmp_path / "a" / "talk.ogg", model, apart) == 0
    before = (apart / "talk.emotion.json").read_bytes()
    assert score(tmp_path / "b" / "talk.wav", model, apart) == 0
    assert (apart / "talk.emotion.json").read_bytes() == before
    assert len(list(apart.glob("talk.wav~*.emotion.json"))) == 1


def test_shards_together_are_the_whole(scored: Path, episodes: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path.parent / f"{scored.name}-sharded"
    for shard in ("1/2", "2/2"):
        assert score(episodes, model, output, "--shard", shard) == 0
    assert len(table(output / "summary_episodes_shard1of2.csv")) == 2
    assert score(episodes, model, output) == 0
    assert table(output / "summary_episodes.csv") == table(scored / "summary_episodes.csv")


def test_a_changed_transcript_or_option_is_scored_again_and_nothing_else(
    episodes: Path, model: Path, tmp_path: Path
) -> None:
    media = tmp_path / "talk.wav"
    media.write_bytes((episodes / "second.wav").read_bytes())
    (tmp_path / "talk.srt").write_text((episodes / "second.srt").read_text())
    output = tmp_path / "out"
    assert score(media, model, output) == 0
    written = (output / "talk.emotion.csv").stat().st_mtime_ns
    assert score(media, model, output) == 0
    assert (output / "talk.emotion.csv").stat().st_mtime_ns == written
    (tmp_path / "talk.srt").write_text("1\n00:00:08,000 --> 00:00:12,000\nWho would have thought so?\n")
    assert score(media, model, output) == 0
    assert [row["text"] for row in table(output / "talk.emotion.csv")] == ["Who would have thought so?"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard", "3/2"], "wanted is I/N"),
        (["--scale", "seven"], "not a scale"),
        (["--formats", "xls"], "unknown format 'xls'"),
        (["--transcript", "nowhere.srt"], "belong to one recording"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], said: str, episodes: Path, model: Path, tmp_path: Path, capsys
) -> None:
    assert score(episodes, model, tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err


class Scripted:
    """A recogniser that says the same of every window, and is sure of the first words only."""

    name, identity = "scripted-1", "scripted:1"

    def __init__(self, threads: int | None = None) -> None:
        self.options = AsrOptions(language="en")

    def transcribe(self, windows: Sequence[np.ndarray]) -> list[Heard]:
        return [self._heard(len(window) / audio.SAMPLE_RATE) for window in windows]

    @staticmethod
    def _heard(seconds: float) -> Heard:
        half = seconds / 2
        spoken = [" ".join(f"{kind}{n}" for n in range(2 + int(half))) + "." for kind in ("sure", "guess")]
        first = Cue(0.0, half - 0.1, spoken[0], avg_logprob=-0.2, no_speech_prob=0.01)
        second = Cue(half, seconds, spoken[1], avg_logprob=-1.8, no_speech_prob=0.1)
        return Heard((first, second), "en")


def test_words_that_a_recogniser_hears_are_read_where_it_was_sure(
    episodes: Path, model: Path, tmp_path: Path
) -> None:
    options = ScoreOptions(
        model, tmp_path, EngineOptions(detector="energy"), device="cpu", make_transcriber=Scripted
    )
    run = scoring.score(jobs_of([episodes / "third.ogg"]), options)
    run.raise_failures()
    timeline = read(tmp_path / "third.emotion.json")
    assert timeline.transcript["source"] == "asr:scripted-1"
    assert timeline.language == "en"
    for segment in timeline.segments:
        is_sure = "sure" in segment.text and "guess" not in segment.text
        assert segment.text_source == ("asr:scripted-1" if is_sure else "untrusted")
        assert ("improbable" in segment.flags) is not is_sure
        assert (segment.dimensions["valence"].text is not None) is is_sure
    assert {segment.text_source for segment in timeline.segments} == {"asr:scripted-1", "untrusted"}


def test_plain_text_gets_the_times_of_the_words_that_are_heard(
    episodes: Path, model: Path, tmp_path: Path
) -> None:
    options = ScoreOptions(model, tmp_path, EngineOptions(detector="energy"), make_transcriber=Scripted)
    scoring.score(jobs_of([episodes / "third.ogg"]), options).raise_failures()
    heard = [(s.start, s.end, s.text) for s in read(tmp_path / "third.emotion.json").segments]
    text = tmp_path / "third.txt"
    text.write_text("\n".join(f"Ann: {words.title()}" for *_, words in heard), encoding="utf-8")
    options = replace(options, engine=replace(options.engine, align=True), formats=("csv",))
    scoring.score(jobs_of([episodes / "third.ogg"], transcript=text), options).raise_failures()
    timeline = read(tmp_path / "third.emotion.json")
    assert timeline.transcript["source"] == "txt, times of asr:scripted-1"
    assert timeline.transcript["file"] == "third.txt"
    assert timeline.language == "en"
    assert [(s.start, s.end, s.text.lower()) for s in timeline.segments] == heard
    assert {(s.speaker, s.text_source) for s in timeline.segments} == {("Ann", timeline.transcript["source"])}


def test_plain_text_without_times_says_what_to_do(
    episodes: Path, model: Path, tmp_path: Path, capsys
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("Who would have thought so?", encoding="utf-8")
    media = episodes / "third.ogg"
    assert score(media, model, tmp_path / "out", "--transcript", str(text)) == 3
    assert "--asr whisper --align" in (tmp_path / "out" / "errors.csv").read_text(encoding="utf-8")
    assert score(media, model, tmp_path / "out", "--transcript", str(text), "--align") == 2
    assert "--align needs a recogniser" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes(
    episodes: Path, model: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert score(episodes, model, whole) == 0
    command = [sys.executable, "-m", "multimodal_ser", "score", str(episodes), "--model", str(model)]
    command += ["-o", str(killed), "--speech", "energy", "--jobs", "2"]
    generator = np.random.default_rng(0)
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        while not killed.exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(float(generator.uniform(0.0, 6.0)))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    left = {name: content for name, content in bytes_in(killed).items() if not name.startswith(".")}
    assert left == bytes_in(whole)


def test_recordings_in_pages_are_asked_for_written_once_and_their_size_is_said(
    episodes: Path, model: Path, tmp_path: Path, capsys
) -> None:
    assert score(episodes / "third.ogg", model, tmp_path) == 0
    page = tmp_path / "third.report.html"
    linked = page.stat().st_size
    capsys.readouterr()
    assert score(episodes / "third.ogg", model, tmp_path, "--embed-audio") == 0
    recording = (episodes / "third.ogg").stat().st_size
    assert page.stat().st_size == pytest.approx(linked + recording * 4 / 3, abs=500)
    assert f"with their recordings: {page.stat().st_size / 1e6:.1f} MB" in capsys.readouterr().out
    written = page.stat().st_mtime_ns
    assert score(episodes / "third.ogg", model, tmp_path, "--embed-audio") == 0
    assert page.stat().st_mtime_ns == written


def test_a_backend_without_a_passed_gate_gives_way_to_the_reference_and_says_so(
    episodes, model, scored, tmp_path, capsys
):
    assert score(episodes / "third.ogg", model, tmp_path, "--backend", "torch-bf16") == 0
    assert "backend: torch-fp32 (not torch-bf16: " in capsys.readouterr().err
    found, wanted = (read(folder / "third.emotion.json").segments for folder in (tmp_path, scored))
    assert found == wanted


def test_a_backend_with_a_passed_gate_scores_nearly_the_same_and_the_results_name_it(
    episodes, model, scored, tmp_path, monkeypatch
):
    shutil.copytree(model, tmp_path / "model")
    write_gate(tmp_path / "model", {"torch-bf16": {"passed": True}}, "a set")
    monkeypatch.setattr("multimodal_ser.backends.choice._without_bfloat16", lambda device: None)
    name = ("--backend", "torch-bf16")  # which `auto` would not take for so small a network
    assert score(episodes / "third.ogg", tmp_path / "model", tmp_path / "out", *name) == 0
    found, wanted = (
        np.array([s.dimensions["arousal"].fused for s in read(f / "third.emotion.json").segments])
        for f in (tmp_path / "out", scored)
    )
    assert 0 < np.abs(found - wanted).max() < 0.02
    assert json.loads((tmp_path / "out" / "run.json").read_text())["engine"]["backend"] == "torch-bf16"
