"""The synthetic corpus: what is planted can be found where it was planted, and nowhere else."""

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import fft
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from multimodal_ser import manifests
from multimodal_ser.corpora import grammar, synthetic
from multimodal_ser.corpora.phones import SOUNDS, phones_of
from multimodal_ser.corpora.planting import Planted, emotion_of, rated, votes
from multimodal_ser.corpora.reading import Reading
from multimodal_ser.corpora.synthetic import generate, read
from multimodal_ser.errors import InputError
from multimodal_ser.labels import DIMENSIONS, EMOTIONS

SPEAKERS, TAKES = 24, 7
PENALTIES = np.logspace(-1, 5, 13)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reading]:
    folder = tmp_path_factory.mktemp("synthetic")
    return folder, generate(folder, speakers=SPEAKERS, utterances_per_speaker=TAKES, seed=1)


def ccc(truth: np.ndarray, predicted: np.ndarray) -> float:
    shared = np.mean((truth - truth.mean()) * (predicted - predicted.mean()))
    return 2 * shared / (truth.var() + predicted.var() + (truth.mean() - predicted.mean()) ** 2)


def heard(path: Path) -> np.ndarray:
    """Mean and standard deviation of 30 log bands, of their change over 20 ms, and the duration."""
    waveform, rate = soundfile.read(path)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 400)[::160] * np.hanning(400)
    edges = np.unique(np.round(np.geomspace(4, 257, 31)).astype(int))
    power = np.abs(fft.rfft(frames, 512, axis=1)) ** 2
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-6)
    change = np.abs(bands[2:] - bands[:-2])
    return np.concatenate(
        [bands.mean(0), bands.std(0), change.mean(0), change.std(0), [len(waveform) / rate]]
    )


def predictions(inputs: np.ndarray, wanted: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Ridge regression fitted on the rows in `train`, applied to the others."""
    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(inputs[train], wanted[train])
    return model.predict(inputs[~train])


def counts_of_words(texts: list[str], train: np.ndarray) -> np.ndarray:
    counter = CountVectorizer(token_pattern=r"[A-Za-z]+", min_df=2)
    counter.fit([text for text, is_train in zip(texts, train, strict=True) if is_train])
    return counter.transform(texts).toarray().astype(float)


def texts_and_truths(count: int, seed: int) -> tuple[list[str], list[Planted]]:
    truths = [Planted.draw(np.random.default_rng([seed, index])) for index in range(count)]
    texts = [
        grammar.sentence(truth.valence, truth.dominance_words, np.random.default_rng([seed, index, 1]))
        for index, truth in enumerate(truths)
    ]
    return texts, truths


def test_arousal_can_be_heard_and_valence_cannot(corpus: tuple[Path, Reading]) -> None:
    folder, reading = corpus
    train = np.array([u.split == "train" for u in reading.utterances])
    sound = np.array([heard(folder / u.audio) for u in reading.utterances])
    found = {}
    for name in DIMENSIONS:
        wanted = np.array([getattr(u, name) for u in reading.utterances])
        found[name] = ccc(wanted[~train], predictions(sound, wanted, train))
    assert found["arousal"] >= 0.85
    assert found["valence"] <= 0.2
    assert 0.3 <= found["dominance"] <= 0.75


def test_valence_can_be_read_and_arousal_cannot() -> None:
    texts, truths = texts_and_truths(1200, seed=0)
    train = np.arange(len(texts)) < 800
    words = counts_of_words(texts, train)
    found = {}
    for name in (*DIMENSIONS, "dominance_voice", "dominance_words"):
        wanted = np.array([getattr(truth, name) for truth in truths])
        found[name] = ccc(wanted[~train], predictions(words, wanted, train))
    assert found["valence"] >= 0.85
    assert found["arousal"] <= 0.15
    assert found["dominance_words"] >= 0.8
    assert found["dominance_voice"] <= 0.15
    assert 0.3 <= found["dominance"] <= 0.75


@pytest.mark.slow
def test_the_whole_corpus_needs_both_branches_for_dominance(tmp_path: Path) -> None:
    reading = generate(tmp_path, speakers=45, utterances_per_speaker=25, seed=0)
    train = np.array([u.split == "train" for u in reading.utterances])
    sound = np.array([heard(tmp_path / u.audio) for u in reading.utterances])
    words = counts_of_words([u.text for u in reading.utterances], train)
    wanted = {name: np.array([getattr(u, name) for u in reading.utterances]) for name in DIMENSIONS}
    by_sound = {name: predictions(sound, wanted[name], train) for name in DIMENSIONS}
    by_words = {name: predictions(words, wanted[name], train) for name in DIMENSIONS}
    held_out = {name: wanted[name][~train] for name in DIMENSIONS}
    assert ccc(held_out["arousal"], by_sound["arousal"]) >= 0.9
    assert ccc(held_out["valence"], by_sound["valence"]) <= 0.2
    assert ccc(held_out["valence"], by_words["valence"]) >= 0.85
    assert ccc(held_out["arousal"], by_words["arousal"]) <= 0.15
    both = by_sound["dominance"] + by_words["dominance"] - wanted["dominance"][train].mean()
    single = [ccc(held_out["dominance"], branch["dominance"]) for branch in (by_sound, by_words)]
    assert max(single) <= 0.7
    assert ccc(held_out["dominance"], both) >= 0.8


def test_what_is_planted_is_independent() -> None:
    truths = texts_and_truths(2000, seed=5)[1]
    names = ("arousal", "valence", "dominance_voice", "dominance_words")
    together = np.corrcoef([[getattr(truth, name) for truth in truths] for name in names])
    assert np.abs(together - np.eye(4)).max() < 0.08


@pytest.mark.parametrize("name", ["ADJECTIVES", "NOUNS", "VERBS", "OPENERS", "CLOSERS"])
def test_the_sound_of_words_does_not_go_with_their_grade(name: str) -> None:
    grades, sounds = [], []
    for grade, phrases in enumerate(getattr(grammar, name)):
        for phrase in phrases:
            stretches = [s for word in phrase.split() for phone in phones_of(word) for s in SOUNDS[phone]]
            seconds = np.array([s.seconds for s in stretches])
            voiced = np.array([s.voicing for s in stretches]) >= 0.5
            hiss = np.array([s.hiss for s in stretches]) > 0.2
            formants = np.array([s.start for s in stretches])[voiced, :2].mean(0)
            grades.append(grade)
            sounds.append(
                [len(stretches), seconds.sum(), seconds[hiss].sum(), seconds[voiced].sum(), *formants]
            )
    together = np.corrcoef(grades, np.array(sounds).T)[0, 1:]
    assert np.abs(together).max() < 0.3, together.round(2)


def test_sentences_are_english_enough() -> None:
    for text in texts_and_truths(300, seed=2)[0]:
        assert text[0].isupper()
        assert text.endswith(".")
        assert not any(f" {article}" in text.lower() for article in ("a a", "a e", "a i", "a o", "a u"))
        assert 10 <= len(text.split()) <= 26


def test_the_text_of_an_utterance_does_not_know_its_arousal() -> None:
    truth = Planted(0.1, 0.7, 0.2, 0.9)
    excited = replace(truth, arousal=0.9, dominance_voice=0.8)
    texts = [
        grammar.sentence(t.valence, t.dominance_words, np.random.default_rng(0)) for t in (truth, excited)
    ]
    assert texts[0] == texts[1]


def test_speakers_are_in_one_split_only_and_every_split_has_women_and_men(
    corpus: tuple[Path, Reading],
) -> None:
    _, reading = corpus
    assert len({(u.speaker, u.split, u.fold, u.gender) for u in reading.utterances}) == SPEAKERS
    found = {(u.split, u.gender) for u in reading.utterances}
    assert found == {(s, g) for s in ("train", "development", "test") for g in ("female", "male")}
    assert sum(u.split == "test" for u in reading.utterances) == 4 * TAKES  # 15 % of 24 speakers
    assert {u.fold for u in reading.utterances} == {1, 2, 3, 4, 5}


def test_files_are_16_khz_mono_16_bit_and_two_to_eight_seconds_long(corpus: tuple[Path, Reading]) -> None:
    folder, reading = corpus
    for utterance in reading.utterances:
        facts = soundfile.info(folder / utterance.audio)
        assert (facts.samplerate, facts.channels, facts.subtype) == (16_000, 1, "PCM_16")
        assert 2.0 <= facts.duration <= 8.0


def test_nothing_is_clipped(corpus: tuple[Path, Reading]) -> None:
    folder, reading = corpus
    clipped = [np.mean(np.abs(soundfile.read(folder / u.audio)[0]) > 0.999) for u in reading.utterances]
    assert max(clipped) < 0.001


def test_labels_are_the_mean_of_the_raters_and_near_the_truth(corpus: tuple[Path, Reading]) -> None:
    _, reading = corpus
    for name in DIMENSIONS:
        labels = np.array([getattr(u, name) for u in reading.utterances])
        means = [np.mean([rating[name] for rating in u.ratings]) for u in reading.utterances]
        planted = np.array([u.meta[f"planted_{name}"] for u in reading.utterances])
        np.testing.assert_allclose(labels, means, atol=1e-6)
        assert np.sqrt(np.mean((labels - planted) ** 2)) < 0.06
        assert ccc(planted, labels) > 0.9
    halves = [
        [u.meta[f"planted_dominance_{half}"] for half in ("voice", "words")] for u in reading.utterances
    ]
    dominance = [u.meta["planted_dominance"] for u in reading.utterances]
    np.testing.assert_allclose(dominance, np.mean(halves, axis=1), atol=1e-4)


def test_the_reading_makes_a_valid_manifest(corpus: tuple[Path, Reading], tmp_path: Path) -> None:
    folder, reading = corpus
    manifests.write(tmp_path / "manifest.jsonl", reading.header, reading.utterances)
    manifest = manifests.read(tmp_path / "manifest.jsonl", audio_root=folder)
    assert manifest.utterances == reading.utterances
    manifests.check_audio(manifest)


@pytest.mark.parametrize(
    ("arousal", "valence", "emotion"),
    [
        (0.9, 0.9, "happiness"), (0.9, 0.1, "anger"), (0.1, 0.1, "sadness"), (0.1, 0.9, "calm"),
        (0.5, 0.5, "neutral"), (0.65, 0.35, "neutral"), (0.75, 0.5, "happiness"), (0.5, 0.2, "anger"),
    ],
)  # fmt: skip
def test_emotions_are_quadrants_around_neutral(arousal: float, valence: float, emotion: str) -> None:
    assert emotion_of(arousal, valence) == emotion
    assert emotion in EMOTIONS


def test_the_emotion_is_what_most_raters_mean() -> None:
    truth = Planted(0.9, 0.1, 0.5, 0.5)
    emotion, shares = votes(rated(truth, np.random.default_rng(0)), truth)
    assert (emotion, shares) == ("anger", {"anger": 1.0})
    tie = [{"arousal": 0.0, "valence": 1.0}, {"arousal": 1.0, "valence": 0.0}]
    assert votes(tie, truth) == ("anger", {"anger": 0.5, "calm": 0.5})


def sounds(folder: Path) -> Iterator[tuple[str, bytes]]:
    return ((p.relative_to(folder).as_posix(), p.read_bytes()) for p in sorted(folder.rglob("*.flac")))


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_jobs(tmp_path: Path) -> None:
    one = generate(tmp_path / "one", speakers=3, utterances_per_speaker=2, seed=7)
    two = generate(tmp_path / "two", speakers=3, utterances_per_speaker=2, seed=7, jobs=3)
    other = generate(tmp_path / "other", speakers=3, utterances_per_speaker=2, seed=8)
    assert one == two
    assert one != other
    assert dict(sounds(tmp_path / "one")) == dict(sounds(tmp_path / "two"))
    assert not set(dict(sounds(tmp_path / "one")).values()) & set(dict(sounds(tmp_path / "other")).values())


def test_a_broken_run_goes_on_and_a_larger_corpus_begins_with_the_smaller(tmp_path: Path) -> None:
    generate(tmp_path, speakers=3, utterances_per_speaker=2, seed=7)
    before = dict(sounds(tmp_path))
    kept, lost, *_ = sorted(tmp_path.rglob("*.flac"))
    lost.unlink()
    touched = kept.stat().st_mtime_ns
    generate(tmp_path, speakers=4, utterances_per_speaker=2, seed=7)
    after = dict(sounds(tmp_path))
    assert len(after) == 8
    assert before.items() <= after.items()
    assert kept.stat().st_mtime_ns == touched


def test_a_folder_with_other_audio_is_refused(tmp_path: Path) -> None:
    generate(tmp_path / "made", speakers=3, utterances_per_speaker=1, seed=1)
    with pytest.raises(InputError, match=r"other generated audio .*'seed': 1.*'seed': 2"):
        generate(tmp_path / "made", speakers=3, utterances_per_speaker=1, seed=2)
    (tmp_path / "foreign" / "audio").mkdir(parents=True)
    with pytest.raises(InputError, match="not generated here"):
        generate(tmp_path / "foreign", speakers=3, utterances_per_speaker=1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="not a folder"):
        generate(tmp_path / "file", speakers=3, utterances_per_speaker=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speakers": 2}, "--speakers 2: must be at least 3; train, development and test"),
        ({"utterances": 0}, "--utterances 0: must be at least 1"),
        ({"seed": -1}, "--seed -1: must be at least 0"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
        ({"episode": 0.1}, "must be at least 0.5"),
    ],
)
def test_options_out_of_range_are_named(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "corpus", **options)
    assert not (tmp_path / "corpus" / "audio").exists()


def test_the_command_line_options_are_the_keywords_of_read() -> None:
    parser = argparse.ArgumentParser()
    synthetic.add_arguments(parser)
    parameters = dict(list(inspect.signature(read).parameters.items())[1:])
    assert vars(parser.parse_args([])) == {name: p.default for name, p in parameters.items()}
    assert parser.parse_args(["--episode"]).episode == synthetic.EPISODE_MINUTES


def test_only_an_episode_gives_its_sentences_as_utterances(tmp_path: Path) -> None:
    reading = read(tmp_path, episode=1.0, episode_format="flac", episode_rate=16_000, only_episode=True)
    assert {u.audio for u in reading.utterances} == {"episode.flac"}
    assert not (tmp_path / "audio").exists()
    manifests.write(tmp_path / "manifest.jsonl", reading.header, reading.utterances)
    first = reading.utterances[0]
    text = (tmp_path / "episode.csv").read_text(encoding="utf-8")
    assert f"{first.start},{first.end},{first.speaker}," in text


def test_an_episode_can_be_made_beside_the_corpus(tmp_path: Path) -> None:
    reading = read(
        tmp_path, speakers=3, utterances=1, episode=0.5, episode_format="flac", episode_rate=16_000
    )
    assert {u.audio.partition("/")[0] for u in reading.utterances} == {"audio"}
    assert (tmp_path / "episode.flac").exists()
    assert "episode.srt" in reading.notes[-1]
