"""The sweep over word error rates measures what it says."""

import itertools
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_runs

from multimodal_ser import metrics
from multimodal_ser.config import run
from multimodal_ser.inference import Predictor
from multimodal_ser.labels import DIMENSIONS
from multimodal_ser.manifests import Manifest, read, write
from multimodal_ser.transcript_errors import TranscriptConfig, TranscriptErrors

SCRIPT = Path(__file__).parents[1] / "recipes" / "synthetic" / "word_errors.py"


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of each experiment, on a few utterances."""
    folder = tmp_path_factory.mktemp("work")
    path = small_runs.write_corpus(folder / "manifest", 12, 8)
    manifest = read(path)
    test = [replace(u, id="t" + u.id, split="test") for u in manifest.utterances]
    write(path, manifest.header, [*manifest.utterances, *test])
    for name, seed in itertools.product(("audio_text", "audio_text_corrupted"), (0, 1)):
        training = {"max_steps": 1, "seed": seed, "learning_rate": 1e-3 if name == "audio_text" else 1e-2}
        run(small_runs.configured(path, training=training), folder / "runs" / name / f"seed{seed}")
    return folder


def test_the_word_error_rate_is_the_one_that_was_asked_for(script: dict) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    utterances = [
        small_runs.Utterance(id=str(n), corpus="c", text=" ".join(np.roll(words, n))) for n in range(300)
    ]
    errors = TranscriptErrors(TranscriptConfig(), [" ".join(words)])
    manifest = Manifest(small_runs.Header("c"), utterances)
    for rate in (0.0, 0.2, 0.6):
        heard, measured = script["corrupted"](manifest, errors, rate)
        assert measured == pytest.approx(rate, abs=0.03)
        assert (heard.utterances == utterances) == (rate == 0)


def test_the_figures_are_means_over_seeds_and_without_errors_those_of_the_models(
    script: dict, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(work / "cache"))
    found = script["measure"](work, (0.0, 0.5))
    assert found["runs"] == ["seed0", "seed1"]
    test = read(work / "manifest" / "manifest.jsonl").split("test")
    labels = {name: np.array([getattr(u, name) for u in test.utterances]) for name in DIMENSIONS}
    expected = {name: [] for name in DIMENSIONS}
    for seed in (0, 1):
        predictor = Predictor.load(work / "runs" / "audio_text" / f"seed{seed}", "cpu")
        said = predictor.predict(predictor.examples(test))
        for name in DIMENSIONS:
            expected[name].append(metrics.ccc(said[name], labels[name]))
    clean = found["points"][0]
    for name in DIMENSIONS:
        assert clean["audio_text"]["fused"][name]["value"] == pytest.approx(np.mean(expected[name]))
    both = [clean[name]["fused"]["mean"]["value"] for name in ("audio_text_corrupted", "audio_text")]
    assert clean["difference"]["fused"]["mean"]["value"] == pytest.approx(both[0] - both[1])
    voice, words = (
        [point["audio_text"][reading]["mean"]["value"] for point in found["points"]]
        for reading in ("audio", "text")
    )
    assert voice[1] == pytest.approx(voice[0], abs=1e-6)  # it hears no transcript
    assert abs(words[1] - words[0]) > 1e-4
    lines = script["table"](found).splitlines()
    assert lines[0].startswith("| word error rate | valence, correct words | valence, and errors | ")
    assert lines[2].startswith(f"| 0.0% | {clean['audio_text']['fused']['valence']['value']:.3f} [")
    assert f"| {both[0] - both[1]:+.3f} [" in lines[2]
    assert len(lines) == 2 + 2
    picture = script["draw"](found, work / "word_errors.png")
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_seeds_that_only_one_training_has_are_named(script: dict, work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, tmp_path / "work")
    shutil.rmtree(tmp_path / "work" / "runs" / "audio_text_corrupted" / "seed1")
    with pytest.raises(SystemExit, match=r"audio_text: seed0, seed1; audio_text_corrupted: seed0\)"):
        script["measure"](tmp_path / "work")


def test_runs_that_are_not_there_are_named(script: dict, work: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest").symlink_to(work / "manifest")
    with pytest.raises(SystemExit, match=r"has no trained audio_text; recipes/synthetic/run\.sh trains both"):
        script["measure"](tmp_path)
