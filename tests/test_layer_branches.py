"""Text encoders, trained models, fine-tuning, categories and other probes of layer reports."""

import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from test_layer_report import utterances
from tiny_checkpoints import save_distilbert, save_hubert

from multimodal_ser.analysis import layer_report, measuring
from multimodal_ser.analysis.categories import categories
from multimodal_ser.analysis.extraction import POOLINGS, pooled
from multimodal_ser.analysis.finetuning import FineTuning
from multimodal_ser.analysis.incremental import reduced, with_others
from multimodal_ser.analysis.learned_weights import left_out_of_mix
from multimodal_ser.analysis.mlp_probe import mlp_probe
from multimodal_ser.analysis.probes import speaker_folds, standardised
from multimodal_ser.analysis.relevance import scored
from multimodal_ser.analysis.sample import sample
from multimodal_ser.analysis.text_layers import embeddings, extract_text
from multimodal_ser.analysis.trained_model import heard_or_read, losses_by_layer, predictions
from multimodal_ser.cli import main
from multimodal_ser.corpora.preparation import prepare
from multimodal_ser.errors import InputError
from multimodal_ser.inference import Predictor
from multimodal_ser.manifests import Header, Manifest, read
from multimodal_ser.metrics import Resampling, ccc
from multimodal_ser.models.encoding import Encoding
from multimodal_ser.models.mel import MelConfig, MelEncoder
from multimodal_ser.models.ser import SerConfig, SerModel
from multimodal_ser.models.text import TextEncoder

GENERATOR = np.random.default_rng(0)
SPEAKERS = [f"s{n % 12}" for n in range(120)]
LABELS = GENERATOR.uniform(0, 1, (120, 3))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small synthetic corpus, tiny checkpoints, and an untrained fused model."""
    folder = tmp_path_factory.mktemp("branches")
    options = {"speakers": 8, "utterances": 9, "seed": 0, "workers": 1}
    manifest = prepare("synthetic", folder / "corpus", folder / "manifest", options=options).manifest
    save_hubert(folder / "hubert")
    save_distilbert(folder / "distilbert")
    torch.manual_seed(0)
    audio = MelEncoder(MelConfig(width=16, blocks=2, heads=2, feedforward=32, bands=20))
    text = TextEncoder.small([u.text or "" for u in read(manifest).utterances], width=16, blocks=1, heads=2)
    SerModel(SerConfig(width=16, heads=2), audio, text).save_pretrained(folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MULTIMODAL_SER_CACHE", str(folder / "cache"))
        yield folder, manifest


@pytest.fixture
def cache(place, monkeypatch):
    monkeypatch.setenv("MULTIMODAL_SER_CACHE", str(place[0] / "cache"))
    return place[0] / "layers"


# Poolings


def test_every_pooling_sees_valid_frames_only():
    layer = torch.from_numpy(GENERATOR.standard_normal((2, 9, 4))).float()
    mask = torch.tensor([[True] * 9, [True] * 5 + [False] * 4])
    layer[1, 5:] = 1e6
    for name in POOLINGS:
        found = pooled(Encoding((layer,), mask, 50.0), name)
        alone = pooled(Encoding((layer[1:, :5],), mask[1:, :5], 50.0), name)
        torch.testing.assert_close(found[1], alone[0], rtol=1e-5, atol=1e-5)


def test_thirds_are_means_of_the_beginning_and_the_end():
    frames = torch.arange(7.0)[None, :, None]
    found = pooled(Encoding((frames,), torch.ones(1, 7, dtype=torch.bool), 50.0), "thirds")
    assert found[0, 0].tolist() == [1.0, 5.0]  # of 0 1 2 and of 4 5 6


def test_attention_of_a_clip_that_does_not_change_is_its_mean():
    frames = torch.tensor([[[1.0, 2.0]] * 5])
    found = pooled(Encoding((frames,), torch.ones(1, 5, dtype=torch.bool), 50.0), "attentive")
    torch.testing.assert_close(found[0, 0], torch.tensor([1.0, 2.0, 0.0, 0.0]))


def test_attention_turns_from_the_odd_frame():
    frames = torch.tensor([[[1.0, 0.0]] * 4 + [[-1.0, 0.0]]])
    found = pooled(Encoding((frames,), torch.ones(1, 5, dtype=torch.bool), 50.0), "attentive")
    assert found[0, 0, 0] > 0.85  # the plain mean is 0.6


# Probes


def test_a_small_network_reads_what_a_line_cannot():
    signs = GENERATOR.standard_normal((600, 1, 2))
    labels = (np.abs(signs[:, 0, :1]) - 0.8) / 3
    speakers = [f"s{n % 20}" for n in range(600)]
    folds, resampling = speaker_folds(speakers), Resampling(speakers)
    components = np.concatenate([signs, GENERATOR.standard_normal((600, 1, 2))], axis=1)
    found = scored(mlp_probe(components, labels, folds), labels, resampling)
    assert found.values[0, 0] > 0.7
    assert abs(found.values[1, 0]) < 0.15


def test_a_probe_with_others_is_ridge_on_both_side_by_side():
    features = GENERATOR.standard_normal((120, 2, 6))
    folds, others = speaker_folds(SPEAKERS), GENERATOR.standard_normal((120, 3))
    labels = LABELS[:, :1]
    components = reduced(features)
    found = with_others(components, others, labels, folds)
    x = np.concatenate([components.reshape(120, -1), standardised(others)], axis=1)
    for fold in range(5):
        rows = folds != fold
        model = Ridge(alpha=found.penalties[fold, 0] * rows.sum()).fit(x[rows], labels[rows])
        expected = model.predict(x[~rows]).reshape(-1, 1)
        np.testing.assert_allclose(found.predictions[~rows], expected, atol=1e-9)


def test_the_mix_loses_what_only_one_layer_holds():
    features = GENERATOR.standard_normal((240, 3, 4))
    labels = features[:, 1, :1] * 0.2 + 0.5
    speakers = [f"s{n % 12}" for n in range(240)]
    found = left_out_of_mix(features, labels, speaker_folds(speakers), Resampling(speakers))
    assert found.values[1, 0] > 0.8
    assert np.abs(found.values[[0, 2], 0]).max() < 0.2


# Categories


def test_classes_are_found_where_they_are_and_verdicts_follow():
    features = GENERATOR.standard_normal((120, 3, 6))
    emotions = ["anger" if row else "joy" for row in GENERATOR.integers(0, 2, 120)]
    features[:, 2, 0] += [3.0 if name == "anger" else 0.0 for name in emotions]
    facts, found, verdict = categories(
        features, emotions, SPEAKERS, list(GENERATOR.standard_normal((3, 120, 3, 6)))
    )
    assert facts["best_layer"] == 2
    assert facts["classes"] == ["anger", "joy"]
    assert found.values[2, 0] > 0.85
    assert verdict.verdict == "supported"
    _, _, of_noise = categories(features[:, :2], emotions, SPEAKERS)
    assert of_noise.verdict == "not supported"


def test_classes_that_few_people_show_are_left_out():
    emotions = ["anger"] * 60 + ["joy"] * 60
    speakers = [f"s{n % 12}" for n in range(60)] + ["one"] * 60
    assert categories(np.zeros((120, 2, 3)), emotions, speakers) is None


# Text


def test_layers_of_transcripts_are_those_of_each_alone(place, cache):
    encoder = TextEncoder.from_pretrained(place[0] / "distilbert").eval()
    texts = ["a few words", "one", "and a longer line of words"]
    found = extract_text(encoder, texts, cache)
    with torch.inference_mode():
        for row, text in enumerate(texts):
            alone = encoder(*encoder.tokenize([text]))
            for layer, states in enumerate(alone.layers):
                expected = torch.cat([states[0].mean(0), states[0].std(0, correction=0)])
                np.testing.assert_allclose(found[row, layer], expected, atol=2e-3, rtol=2e-3)


def test_sentence_embeddings_have_length_one(place):
    encoder = TextEncoder.from_pretrained(place[0] / "distilbert").eval()
    found = embeddings(encoder, ["a few words", "one"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_text_encoder_without_transcripts_is_refused():
    manifest = Manifest(Header("t"), utterances(LABELS, SPEAKERS))
    with pytest.raises(InputError, match=r"no utterance of this manifest has a transcript"):
        sample(manifest, reads=True)


def test_too_few_speakers_are_refused_before_any_audio_is_read():
    manifest = Manifest(Header("t"), utterances(LABELS, ["one"] * 120, audio="not_there.wav"))
    with pytest.raises(InputError, match=r"1 speaker\(s\) among 120 utterances"):
        sample(manifest, reads=False)


# Trained models


def test_a_layer_that_has_no_share_of_the_mix_is_not_missed(place, cache):
    predictor = Predictor.load(place[0] / "model", "cpu")
    scores = predictor.model.layer_mix.scores
    scores.data = torch.tensor([0.0, -60.0, 0.5])
    said, without = predictions(predictor, read(place[1]))
    np.testing.assert_allclose(without[1], said["fused"], atol=1e-5)
    assert np.abs(without[0] - said["fused"]).max() > 1e-4
    assert scores.tolist() == [0.0, -60.0, 0.5]  # the model is as it was
    table = predictor.predict(predictor.examples(read(place[1])))
    np.testing.assert_allclose(table["valence"], said["fused"][:, 1], atol=1e-5)


def test_losses_are_differences_of_ccc():
    said = LABELS + 0.1 * GENERATOR.standard_normal(LABELS.shape)
    without = np.stack([said, GENERATOR.uniform(0, 1, LABELS.shape)])
    found = losses_by_layer(said, without, LABELS, Resampling(SPEAKERS))
    assert found.values[0] == pytest.approx([0, 0, 0])
    expected = ccc(said[:, 2], LABELS[:, 2]) - ccc(without[1][:, 2], LABELS[:, 2])
    assert found.values[1, 2] == pytest.approx(expected)


def test_what_is_heard_and_what_is_read_is_told_apart():
    noise = GENERATOR.uniform(0, 1, LABELS.shape)
    heard, words = noise.copy(), noise.copy()
    heard[:, 0], words[:, 1] = LABELS[:, 0], LABELS[:, 1]
    said = {"fused": LABELS, "audio": heard, "text": words}
    readings, verdicts = heard_or_read(
        said, LABELS, ("arousal", "valence", "dominance"), Resampling(SPEAKERS)
    )
    assert [one.verdict for one in verdicts] == ["supported", "not supported", "undecided"]
    assert readings["lost without hearing"].values[0, 0] == pytest.approx(1 - ccc(words[:, 0], LABELS[:, 0]))


# The command


@pytest.fixture(scope="module")
def everything(place):
    """All branches at once: a fused model, a text encoder, cut and trained encoders."""
    folder, manifest = place
    (folder / "tiny.yaml").write_text(
        "model:\n  fusion: audio\n  width: 16\n  heads: 2\n  audio: {kind: hubert}\n"
        "training: {max_steps: 2, batch_seconds: 60, device: cpu}\n",
        encoding="utf-8",
    )
    command = [
        "layers", str(manifest), "--encoder", str(folder / "hubert"), "--text-encoder",
        str(folder / "distilbert"), "--model", str(folder / "model"), "--sentence-encoder",
        str(folder / "distilbert"), "--sentiment", str(folder / "model"), "--mlp", "--finetune",
        str(folder / "tiny.yaml"), "--device", "cpu", "-o", str(folder / "out"),
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:  # short trainings of diagnostics: nothing here looks at them
        patch.setattr(measuring, "learn", partial(measuring.learn, seeds=2, steps=5))
        patch.setattr(measuring, "left_out_of_mix", partial(measuring.left_out_of_mix, steps=5))
        patch.setattr("multimodal_ser.analysis.mlp_probe.EPOCHS", 2)
        assert main(command) == 0
    return folder, json.loads((folder / "out" / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_branch_is_measured_and_named(everything):
    folder, results = everything
    model = str(folder / "model")
    names = [str(folder / "hubert"), str(folder / "distilbert"), f"{model} (audio)", f"{model} (text)"]
    assert list(results["encoders"]) == names
    kinds = [found["kind"] for found in results["encoders"].values()]
    assert kinds == ["HubertEncoder", "TextEncoder", "MelEncoder", "TextEncoder"]
    for found in results["encoders"].values():
        assert set(found["comparisons"]) == {
            "the acoustic set", "sentence embeddings", "the sentiment of the words"
        }  # fmt: skip
        assert "mlp" in found["measures"]
        assert "the sentiment of the words (CCC)" in found["confounders"]


@pytest.mark.slow
def test_fine_tuning_fills_the_depths_that_were_trained(everything):
    _, results = everything
    curve = next(iter(results["encoders"].values()))["measures"]["fine-tuned"]["arousal"]
    assert curve[0] == [None, None, None]
    assert all(math.isfinite(value) for value, _, _ in curve[1:])
    assert len(curve) == 3


@pytest.mark.slow
def test_a_model_says_what_it_loses_and_which_branch_it_uses(everything):
    folder, results = everything
    found = results["encoders"][f"{folder / 'model'} (audio)"]
    assert set(found["model"]["readings"]) == {
        "fused", "audio", "text", "lost without hearing", "lost without reading"
    }  # fmt: skip
    assert len(found["measures"][layer_report.LEFT_OUT_OF_MODEL]["valence"]) == found["layers"]
    page = (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert "lost without hearing" in page
    assert "is heard more than it is read" in page


def test_an_unknown_pooling_is_refused():
    with pytest.raises(InputError, match=r"unknown pooling 'max'; known: statistics, attentive, thirds"):
        layer_report.Options(pooling="max")


def test_fine_tuning_beyond_the_encoder_is_refused():
    with pytest.raises(InputError, match=r"--finetune-layers 9: this encoder has blocks 1 to 2"):
        FineTuning("x.yaml", "manifest.jsonl", layers=(2, 9)).check(2)
