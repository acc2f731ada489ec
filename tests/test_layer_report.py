"""Layer reports of made-up layers and of a tiny encoder on sounds whose content is known; bad input."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from multimodal_ser.analysis import self_test
from multimodal_ser.analysis.choosing import choose
from multimodal_ser.analysis.layer_report import COLUMNS, rows_of, summary
from multimodal_ser.analysis.measuring import measure
from multimodal_ser.cli import main
from multimodal_ser.errors import InputError
from multimodal_ser.manifests import Header, Utterance, write
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel

SPEAKERS, EACH = 12, 7


def utterances(labels, speakers, **more):
    return [
        Utterance(
            id=f"u{n}", corpus="t", speaker=speaker, gender=("female", "male")[sum(speaker.encode()) % 2],
            arousal=float(row[0]), valence=float(row[1]), dominance=float(row[2]), **more,
        )
        for n, (speaker, row) in enumerate(zip(speakers, labels, strict=True))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """Noise whose level is the arousal; valence and dominance are nowhere in it. A random tiny model."""
    folder = tmp_path_factory.mktemp("loud")
    generator = np.random.default_rng(0)
    lines = []
    for number in range(SPEAKERS * EACH):
        arousal, valence, dominance = generator.uniform(0, 1, 3)
        sound = 10 ** (-2 + 1.5 * arousal) * generator.standard_normal(16000 * 3 // 10) * 0.3
        soundfile.write(folder / f"{number}.wav", sound, 16000)
        lines.append(
            Utterance(
                id=f"u{number}", corpus="loud", audio=f"{number}.wav", speaker=f"s{number % SPEAKERS}",
                gender=("female", "male")[number % 2], split="train" if number % 7 else "test",
                arousal=arousal, valence=valence, dominance=dominance, label_source="planted",
            )
        )  # fmt: skip
    write(folder / "manifest.jsonl", Header("loud", audio_root="."), lines)
    torch.manual_seed(1)
    encoder = MelEncoder(
        MelConfig(width=16, blocks=2, heads=2, feedforward=32, bands=20, normalise_level=False)
    )
    SerModel(SerConfig(fusion="audio"), encoder, None).save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def results(loud):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIMODAL_SER_CACHE", str(loud / "cache"))
        command = [
            "layers",
            str(loud / "manifest.jsonl"),
            "--model",
            str(loud / "model"),
            "-o",
            str(loud / "out"),
        ]
        assert main([*command, "--device", "cpu"]) == 0
    return json.loads((loud / "out" / "results.json").read_text(encoding="utf-8"))


def test_what_is_in_the_sound_is_read_and_what_is_not_is_not(results):
    (found,) = results["encoders"].values()
    arousal = np.array(found["measures"]["probes"]["arousal"], dtype=float)
    valence = np.array(found["measures"]["probes"]["valence"], dtype=float)
    assert (arousal[:, 1] > 0.8).any()
    assert (np.abs(valence[:, 0]) < 0.3).all()
    verdicts = {one["claim"]: one["verdict"] for one in found["conclusions"]}
    assert verdicts["valence can be read from the encoder"] == "not supported"
    assert verdicts["valence lies deeper than arousal"] == "not supported"


def test_random_encoders_are_not_beaten_by_another_random_encoder(results):
    """The measured encoder has random weights too: what it gives is no more than the control gives."""
    (found,) = results["encoders"].values()
    (verdict,) = [one for one in found["conclusions"] if one["claim"].startswith("arousal can")]
    assert verdict["verdict"] == "not supported"
    assert "beyond the best layers of 5 randomly initialised encoders" in verdict["reasons"][1]


def test_each_random_encoder_has_layers_of_its_own_on_disk(loud, results):
    (found,) = results["encoders"].values()
    assert found["random_encoders"] == 5
    assert len(list((loud / "cache" / "layers").glob("*.float16"))) == 6


def test_too_few_random_encoders_are_refused(loud, capsys):
    command = ["layers", str(loud / "manifest.jsonl"), "--model", str(loud / "model"), "-o", "x"]
    assert main([*command, "--random-encoders", "2"]) == 2
    assert "--random-encoders 2: at least 3" in capsys.readouterr().err


def test_a_model_that_only_hears_has_one_reading_and_a_loss_for_each_layer(results):
    (found,) = results["encoders"].values()
    assert list(found["model"]["readings"]) == ["audio"]
    assert found["model"]["conclusions"] == []
    losses = np.array(found["measures"]["left out of the model"]["arousal"], dtype=float)
    assert losses.shape == (found["layers"], 3)
    assert np.abs(losses[:, 0]).max() > 0


def test_the_acoustic_set_alone_reads_the_loudness_that_is_arousal(results):
    (found,) = results["encoders"].values()
    (compared,) = found["comparisons"].values()
    assert compared["alone (CCC)"]["arousal"][1] > 0.8
    assert abs(compared["alone (CCC)"]["valence"][0]) < 0.3
    assert max(value for value, _, _ in compared["cca"]) > 0.4


def test_csv_says_what_the_json_says(loud, results):
    with (loud / "out" / "layers.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert tuple(lines[0]) == COLUMNS
    expected = list(rows_of(results))
    assert len(lines) - 1 == len(expected)
    for line, row in zip(lines[1:], expected, strict=True):
        assert line[1:4] == [row[1], row[2], str(row[3])]
        assert (float(line[5]) if line[5] else None) == (
            None if row[5] is None else pytest.approx(row[5], rel=1e-5)
        )


@pytest.mark.slow
def test_planted_layers_are_concluded_from():
    made = self_test.make_layers(1, units=6)
    chosen = choose(utterances(made.labels, made.speakers))
    generator = np.random.default_rng(1)
    seconds = generator.uniform(1, 4, len(made.labels))
    random = [generator.standard_normal(made.features.shape) for _ in range(3)]
    found = measure(made.features, chosen, seconds, random)
    json.dumps(found, allow_nan=False)
    verdicts = {one["claim"]: one["verdict"] for one in found["conclusions"]}
    assert verdicts == {
        "arousal can be read from the encoder": "supported",
        "valence can be read from the encoder": "supported",
        "dominance can be read from the encoder": "supported",
        "valence lies deeper than arousal": "supported",
    }
    assert found["places"]["probes"]["arousal"]["best_layer"] == 2
    assert found["places"]["gain"]["valence"]["best_layer"] == 10
    assert "valence lies deeper than arousal: supported" in summary({"encoders": {"made up": found}})


def test_random_layers_support_nothing():
    generator = np.random.default_rng(2)
    labels = generator.uniform(0, 1, (120, 3))
    speakers = [f"s{n % 12}" for n in range(120)]
    features = generator.standard_normal((120, 4, 10))
    found = measure(features, choose(utterances(labels, speakers)), np.ones(120) + labels[:, 0])
    assert {one["verdict"] for one in found["conclusions"]} == {"not supported"}


GENERATOR = np.random.default_rng(3)
LABELS = GENERATOR.uniform(0, 1, (100, 3))
NAMES = [f"s{n % 10}" for n in range(100)]


def test_too_few_utterances_are_refused():
    with pytest.raises(InputError, match=r"12 of 12 utterances have a speaker and arousal.*at least 60"):
        choose(utterances(LABELS[:12], NAMES[:12]))


def test_constant_labels_are_refused():
    labels = LABELS.copy()
    labels[:, 1] = 0.5
    with pytest.raises(
        InputError, match=r"valence is 0.5 for every utterance.*default value in place of missing"
    ):
        choose(utterances(labels, NAMES))


def test_one_speaker_is_refused():
    chosen = choose(utterances(LABELS, ["only"] * 100))
    with pytest.raises(InputError, match=r"1 speaker\(s\) among 100 utterances"):
        measure(GENERATOR.standard_normal((100, 3, 4)), chosen, np.ones(100))


def test_one_layer_is_refused():
    with pytest.raises(InputError, match="this encoder has one layer"):
        measure(GENERATOR.standard_normal((100, 1, 4)), choose(utterances(LABELS, NAMES)), np.ones(100))


def test_audio_that_is_not_there_is_named(loud, tmp_path, capsys):
    lines = [
        Utterance(
            id=u.id, corpus="t", audio=f"gone/{u.id}.wav", speaker=u.speaker,
            arousal=u.arousal, valence=u.valence, dominance=u.dominance,
        )
        for u in utterances(LABELS, NAMES)
    ]  # fmt: skip
    write(tmp_path / "manifest.jsonl", Header("t", audio_root="."), lines)
    command = ["layers", str(tmp_path / "manifest.jsonl"), "--model", str(loud / "model")]
    assert main([*command, "-o", str(tmp_path / "out"), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "gone" in said
    assert "audio" in said
    assert not (tmp_path / "out").exists()


def test_an_encoder_without_blocks_is_refused_by_the_command(loud, tmp_path, capsys):
    shallow = MelEncoder(MelConfig(width=16, blocks=0, heads=2, feedforward=32, bands=20))
    SerModel(SerConfig(fusion="audio"), shallow, None).save_pretrained(tmp_path / "model")
    command = ["layers", str(loud / "manifest.jsonl"), "--encoder", str(tmp_path / "model")]
    assert main([*command, "-o", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert "this encoder has one layer" in capsys.readouterr().err


def test_layers_that_are_not_numbers_are_refused():
    features = GENERATOR.standard_normal((100, 3, 4))
    features[7, 2, 1] = np.nan
    with pytest.raises(InputError, match=r"layer 2: 1 of 100 rows hold NaN or infinity"):
        measure(features, choose(utterances(LABELS, NAMES)), np.ones(100))


def test_unknown_speakers_and_missing_labels_are_left_out_and_counted():
    some = utterances(LABELS, NAMES)
    some += [
        Utterance(id="a", corpus="t", arousal=0.1, valence=0.1, dominance=0.1),
        Utterance(id="b", corpus="t"),
    ]
    chosen = choose(some)
    assert chosen.left_out == 2
    assert chosen.rows.tolist() == list(range(100))


def test_missing_arguments_say_what_is_wanted(capsys):
    assert main(["layers"]) == 2
    assert (
        "layers wants MANIFEST --encoder NAME_OR_FOLDER -o DIR (or --text-encoder, or --model)"
        in capsys.readouterr().err
    )
